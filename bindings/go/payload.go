package dcb

// Decode returns the event with its payload decoded, as [Store.Read] returns it. It fails with a [*DecodeError].
// It serves code that reads raw events and has to go on after one that cannot be decoded.
func (s *Store) Decode(event RawEvent) (SequencedEvent, error) {
	return s.decode(&event)
}
