package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A subscriber is a member of a group, and what it is told.
type subscriber struct {
	client  *kgo.Client
	mutex   sync.Mutex
	owned   []int32
	givenUp []int32
}

func subscribe(group string, options ...kgo.Opt) (*subscriber, error) {
	topic := "shared-" + prefix
	of := &subscriber{}
	gone := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		of.mutex.Lock()
		defer of.mutex.Unlock()
		of.givenUp = append(of.givenUp, partitions[topic]...)
		of.owned = slices.DeleteFunc(of.owned, func(number int32) bool { return slices.Contains(partitions[topic], number) })
	}
	options = append(options, kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			of.mutex.Lock()
			defer of.mutex.Unlock()
			of.owned = append(of.owned, partitions[topic]...)
			slices.Sort(of.owned)
		}))
	client, err := kgo.NewClient(options...)
	of.client = client
	return of, err
}

func (of *subscriber) has() []int32 {
	of.mutex.Lock()
	defer of.mutex.Unlock()
	return slices.Clone(of.owned)
}

func (of *subscriber) gaveUp() []int32 {
	of.mutex.Lock()
	defer of.mutex.Unlock()
	slices.Sort(of.givenUp)
	return slices.Clone(of.givenUp)
}

func until(isSo func() bool) error {
	for end := time.Now().Add(30 * time.Second); !isSo(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("it does not become so")
		}
	}
	return nil
}

func share(one, two *subscriber) error {
	return until(func() bool { return len(one.has()) == partitions/2 && len(two.has()) == partitions/2 })
}

// staticMember stops and comes back under its name.
func staticMember() error {
	group := prefix + "-static"
	one, err := subscribe(group, kgo.InstanceID("one"))
	if err != nil {
		return err
	}
	defer one.client.Close()
	two, err := subscribe(group, kgo.InstanceID("two"))
	if err != nil {
		return err
	}
	if err := share(one, two); err != nil {
		return err
	}
	before, had, gaveUp := one.has(), two.has(), one.gaveUp()
	two.client.Close()
	again, err := subscribe(group, kgo.InstanceID("two"))
	if err != nil {
		return err
	}
	defer again.client.Close()
	if err := share(one, again); err != nil {
		return err
	}
	if !slices.Equal(again.has(), had) || !slices.Equal(one.has(), before) || !slices.Equal(one.gaveUp(), gaveUp) {
		return fmt.Errorf("%v instead of %v; the other has %v instead of %v, and gave up %v", again.has(), had, one.has(), before, one.gaveUp())
	}
	return nil
}

// cooperative members keep what they have, but for what a newcomer is to get.
func cooperative() error {
	group := prefix + "-cooperative"
	one, err := subscribe(group)
	if err != nil {
		return err
	}
	defer one.client.Close()
	if err := until(func() bool { return len(one.has()) == partitions }); err != nil {
		return err
	}
	two, err := subscribe(group)
	if err != nil {
		return err
	}
	defer two.client.Close()
	if err := share(one, two); err != nil {
		return err
	}
	if !slices.Equal(one.gaveUp(), two.has()) {
		return fmt.Errorf("gave up %v, for %v", one.gaveUp(), two.has())
	}
	return nil
}
