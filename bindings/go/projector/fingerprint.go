package projector

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// fingerprint returns a hash of every field of the event.
func fingerprint(event dcb.RawEvent) string {
	hash := sha256.New()
	number := func(n int64) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		hash.Write(b[:])
	}
	field := func(text []byte) {
		number(int64(len(text)))
		hash.Write(text)
	}
	number(event.Position)
	number(event.Timestamp.UnixMicro())
	field([]byte(event.Type))
	field([]byte(event.ID))
	field(event.Data)
	field(event.Metadata)
	number(int64(len(event.Tags)))
	for _, tag := range event.Tags {
		field([]byte(tag.String()))
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// eventAt returns the event at the position, or one with position 0 if there is none.
func eventAt(ctx context.Context, store Source, position int64) (dcb.RawEvent, error) {
	for event, err := range store.RawEvents(ctx, dcb.QueryAll(), dcb.FromPosition(position-1), dcb.Limit(1)) {
		if err != nil || event.Position == position {
			return event, err
		}
	}
	return dcb.RawEvent{}, nil
}

// verify returns an error if the store does not have the event of this fingerprint at the position.
func (p *Projector) verify(ctx context.Context, position int64, want string) error {
	if position == 0 {
		return nil
	}
	event, err := eventAt(ctx, p.Store, position)
	if err != nil {
		return err
	}
	if event.Position != position || fingerprint(event) != want {
		return fmt.Errorf("projector %q: the store does not have the event at position %d that was applied; "+
			"reset the projector to apply the history again: %w", p.Name, position, dcb.ErrHistoryRewound)
	}
	return nil
}
