package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// newer makes a member use the newer protocol (KIP-848). franz-go has it for those who know this key, and for balancers that
// the server has, too.
func newer() []kgo.Opt {
	//nolint:staticcheck // The key is a plain string in the client.
	ctx := context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true)
	return []kgo.Opt{kgo.WithContext(ctx), kgo.Balancers(kgo.StickyBalancer())}
}

// newerGroup is read by one member after the other, and described while it has one: those of the classic protocol are not
// there for this request.
func newerGroup() error {
	topic := prefix + "-newer"
	if err := goesOn(topic, newer()...); err != nil {
		return err
	}
	client, err := member(topic, topic, newer()...)
	if err != nil {
		return err
	}
	defer client.Close()
	return stable(topic, 1)
}

// stable waits until a group of the newer protocol has so many members, with what they are to have.
func stable(group string, members int) error {
	return withAdmin(func(ctx context.Context, admin *kadm.Client) error {
		for {
			described, err := admin.DescribeConsumerGroups(ctx, group)
			of := described[group]
			if err == nil && of.Err == nil && of.State == "Stable" && of.AssignorName == "uniform" && len(of.Members) == members {
				return nil
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%v, %v", of, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func twoOfTheNewerProtocol() error {
	topic, group := "shared-"+prefix+"-newer", prefix+"-two-newer"
	err := withAdmin(func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
		return err
	})
	if err != nil {
		return err
	}
	return twoMembers(topic, group, stable, newer()...)
}
