package dcb_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"sync"

	dcb "github.com/libdcb/libdcb/bindings/go"
)

// errErased is the error of data about a person who was erased.
var errErased = errors.New("the person was erased")

// keyring has a key for each person. In a service it is a table in a database of its own, with backups of its own:
// whoever has the events and the keys can read everything.
type keyring struct {
	mu   sync.Mutex
	keys map[string][]byte
}

// add makes the key of a new person.
func (k *keyring) add(person string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := make([]byte, 32)
	rand.Read(key) // never fails
	k.keys[person] = key
}

// erase forgets a person: without the key, nobody can read what was sealed for this person.
func (k *keyring) erase(person string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, person)
}

func (k *keyring) cipherOf(person string) (cipher.AEAD, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[person]
	if !ok {
		return nil, errErased
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts a value for a person.
func (k *keyring) seal(person string, value any) ([]byte, error) {
	aead, err := k.cipherOf(person)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	// The name of the person is authenticated too, so that nobody can move the text to another one.
	return aead.Seal(nil, nil, plain, []byte(person)), nil
}

// open decrypts what was sealed for a person.
func (k *keyring) open(person string, sealed []byte, value any) error {
	aead, err := k.cipherOf(person)
	if err != nil {
		return err
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(person))
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, value)
}

// contact is personal. It is only ever stored sealed.
type contact struct{ Name, Email string }

// studentRegistered is what an event holds: what is not personal as it is, and the rest sealed.
type studentRegistered struct {
	Year    int    `json:"year"`
	Contact []byte `json:"contact"`
}

func Example_erasure() {
	ctx := context.Background()
	keys := &keyring{keys: map[string][]byte{}}
	var registry dcb.Registry
	registered := dcb.Register[studentRegistered](&registry, "StudentRegistered")
	store := dcb.NewMemoryStore(dcb.WithRegistry(&registry))
	defer store.Close()

	// The tag has an id that means nothing outside of the service, and no name and no address.
	for id, c := range map[string]contact{"s1": {"Ada", "ada@example.org"}, "s2": {"Bob", "bob@example.org"}} {
		keys.add(id)
		sealed, err := keys.seal(id, c)
		if err != nil {
			log.Fatal(err)
		}
		event := registered.New(studentRegistered{Year: 2026, Contact: sealed}, dcb.Tag{Key: "student", Value: id})
		if err := store.Append(ctx, []dcb.Event{event}); err != nil {
			log.Fatal(err)
		}
	}

	keys.erase("s2")
	for _, id := range []string{"s1", "s2"} {
		events, _, err := store.Read(ctx, dcb.NewQuery(dcb.QueryItem{Tags: []dcb.Tag{{Key: "student", Value: id}}}))
		if err != nil || len(events) != 1 {
			log.Fatal(len(events), err)
		}
		data, _ := registered.Of(events[0])
		var c contact
		err = keys.open(id, data.Contact, &c)
		fmt.Println(id, data.Year, c.Name, err)
	}
	// Output:
	// s1 2026 Ada <nil>
	// s2 2026  the person was erased
}
