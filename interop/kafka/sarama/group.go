package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	// Of a group's first member; the next one goes on behind them.
	part = 120
	// Of the topic that members share.
	partitions = 4
)

// A member of a group, what it has and what it has read.
type member struct {
	group    sarama.ConsumerGroup
	stop     context.CancelFunc
	done     chan struct{}
	wanted   int
	mutex    sync.Mutex
	owned    []int32
	sessions int
	read     []*sarama.ConsumerMessage
}

// join reads a topic as a member, and stops by itself once it has read as much as is wanted.
func join(topic, group, instance string, wanted int) (*member, error) {
	config := config()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.InstanceId = instance
	joined, err := sarama.NewConsumerGroup([]string{bootstrap}, group, config)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(context.Background(), 60*time.Second)
	of := &member{group: joined, stop: stop, done: make(chan struct{}), wanted: wanted}
	go func() {
		defer close(of.done)
		// Each session ends with a rebalance.
		for ctx.Err() == nil && joined.Consume(ctx, []string{topic}, of) == nil {
		}
	}()
	return of, nil
}

func (of *member) Setup(session sarama.ConsumerGroupSession) error {
	of.mutex.Lock()
	defer of.mutex.Unlock()
	of.owned = nil
	for _, numbers := range session.Claims() {
		of.owned = append(of.owned, numbers...)
	}
	slices.Sort(of.owned)
	of.sessions++
	return nil
}

func (of *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (of *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more || !of.take(message) {
				return nil
			}
			session.MarkMessage(message, "")
			if of.isDone() {
				session.Commit()
				of.stop()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

// take is false when there was enough before.
func (of *member) take(message *sarama.ConsumerMessage) bool {
	of.mutex.Lock()
	defer of.mutex.Unlock()
	if len(of.read) == of.wanted {
		return false
	}
	of.read = append(of.read, message)
	return true
}

func (of *member) isDone() bool {
	of.mutex.Lock()
	defer of.mutex.Unlock()
	return len(of.read) == of.wanted
}

func (of *member) has() ([]int32, int) {
	of.mutex.Lock()
	defer of.mutex.Unlock()
	return slices.Clone(of.owned), of.sessions
}

// leave stops it; a member with a name of its own stays one nevertheless.
func (of *member) leave() error {
	of.stop()
	<-of.done
	return of.group.Close()
}

func until(isSo func() bool) error {
	for end := time.Now().Add(30 * time.Second); !isSo(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("it does not become so")
		}
	}
	return nil
}

func share(one, two *member) error {
	return until(func() bool {
		first, _ := one.has()
		second, _ := two.has()
		return len(first) == partitions/2 && len(second) == partitions/2
	})
}

// group reads a part as one member, commits, and reads the rest as the next one.
func group() error {
	topic, next := prefix+"-group", int64(0)
	if err := produce(topic, config()); err != nil {
		return err
	}
	for _, wanted := range []int{part, count - part} {
		member, err := join(topic, topic, "", wanted)
		if err != nil {
			return err
		}
		<-member.done
		if err := member.leave(); err != nil {
			return err
		}
		for _, message := range member.read {
			if message.Offset != next {
				return fmt.Errorf("offset %d instead of %d", message.Offset, next)
			}
			next++
		}
	}
	if next != count {
		return fmt.Errorf("%d messages", next)
	}
	return nil
}

// twoMembers share a topic: each reads its own part of it.
func twoMembers() error {
	topic, name := "shared-"+prefix, prefix+"-two"
	one, err := join(topic, name, "", -1)
	if err != nil {
		return err
	}
	two, err := join(topic, name, "", -1)
	if err != nil {
		return err
	}
	if err := share(one, two); err != nil {
		return err
	}
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer producer.Close()
	for n := range count {
		message := &sarama.ProducerMessage{Topic: topic, Partition: int32(n % partitions), Value: sarama.ByteEncoder(value(n))}
		if _, _, err := producer.SendMessage(message); err != nil {
			return err
		}
	}
	places := func(of *member) map[string]bool {
		of.mutex.Lock()
		defer of.mutex.Unlock()
		seen := map[string]bool{}
		for _, message := range of.read {
			seen[fmt.Sprintf("%d/%d", message.Partition, message.Offset)] = true
		}
		return seen
	}
	err = until(func() bool { return len(places(one))+len(places(two)) >= count })
	if err := one.leave(); err != nil {
		return err
	}
	if err := two.leave(); err != nil {
		return err
	}
	first, second := places(one), places(two)
	all := maps.Clone(first)
	maps.Copy(all, second)
	if err != nil || len(first) != count/2 || len(second) != count/2 || len(all) != count {
		return fmt.Errorf("%d and %d of %d, %v", len(first), len(second), len(all), err)
	}
	return nil
}

// staticMember stops and comes back under its name.
func staticMember() error {
	topic, name := "shared-"+prefix, prefix+"-static"
	one, err := join(topic, name, "one", -1)
	if err != nil {
		return err
	}
	two, err := join(topic, name, "two", -1)
	if err != nil {
		return err
	}
	if err := share(one, two); err != nil {
		return err
	}
	before, sessions := one.has()
	had, _ := two.has()
	if err := two.leave(); err != nil {
		return err
	}
	again, err := join(topic, name, "two", -1)
	if err != nil {
		return err
	}
	if err := share(one, again); err != nil {
		return err
	}
	has, now := one.has()
	hasAgain, _ := again.has()
	if !slices.Equal(has, before) || !slices.Equal(hasAgain, had) || now != sessions {
		return fmt.Errorf("%v instead of %v; the other has %v instead of %v in %d sessions", hasAgain, had, has, before, now-sessions)
	}
	if err := again.leave(); err != nil {
		return err
	}
	return one.leave()
}
