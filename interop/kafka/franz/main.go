// franz-go, and what it does: one line for each feature, `feature<TAB>outcome`.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	count = 200
	start = 1_700_000_000_000
	// Of a group's first member; the next one goes on behind them.
	part = 120
	// Of the topic that two members share.
	partitions = 4
)

var bootstrap, prefix = os.Args[1], os.Args[2]

func key(n int) []byte {
	if n%2 == 0 {
		return []byte(fmt.Sprintf("key %d", n))
	}
	return nil
}

func value(n int) []byte {
	if n%5 == 0 {
		return []byte{}
	}
	return []byte(fmt.Sprintf("value %d %s", n, strings.Repeat("again ", 20)))
}

func headers(n int) []kgo.RecordHeader {
	return []kgo.RecordHeader{
		{Key: "number", Value: []byte(fmt.Sprint(n))},
		{Key: "number", Value: []byte{}},
		{Key: "naïve", Value: []byte{0xff, 0}},
	}
}

func produce(topic string, options ...kgo.Opt) error {
	options = append(options, kgo.SeedBrokers(bootstrap), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(50*time.Millisecond))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var records []*kgo.Record
	for n := range count {
		records = append(records, &kgo.Record{
			Topic: topic, Key: key(n), Value: value(n), Headers: headers(n), Timestamp: time.UnixMilli(start + int64(n)),
		})
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// take reads from an offset of partition 0.
func take(topic string, from int64, wanted int) ([]*kgo.Record, error) {
	partitions := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumePartitions(partitions))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var taken []*kgo.Record
	for len(taken) < wanted {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		taken = append(taken, fetches.Records()...)
	}
	return taken, nil
}

func check(topic string) error {
	records, err := take(topic, 0, count)
	if err != nil {
		return err
	}
	if len(records) != count {
		return fmt.Errorf("%d records", len(records))
	}
	for n, record := range records {
		same := has(record, n) && record.Timestamp.UnixMilli() == start+int64(n) && len(record.Headers) == 3
		for i, header := range headers(n) {
			same = same && record.Headers[i].Key == header.Key && bytes.Equal(record.Headers[i].Value, header.Value)
		}
		if !same {
			return fmt.Errorf("record %d is %v", n, record)
		}
	}
	return nil
}

// has says whether a record is at its place, with its key and its value.
func has(record *kgo.Record, n int) bool {
	return record.Offset == int64(n) && bytes.Equal(record.Key, key(n)) && (record.Key == nil) == (key(n) == nil) && bytes.Equal(record.Value, value(n))
}

// fromGRPC reads what was sent over gRPC: in each codec, and with headers and times.
func fromGRPC() error {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		records, err := take(prefix+"-from-grpc-"+codec, 0, count)
		if err != nil {
			return err
		}
		if len(records) != count {
			return fmt.Errorf("%s: %d records", codec, len(records))
		}
		for n, record := range records {
			if !has(record, n) || len(record.Headers) > 0 {
				return fmt.Errorf("%s: record %d is %v", codec, n, record)
			}
		}
	}
	return check(prefix + "-from-grpc-headers")
}

func codec(name string, codec kgo.CompressionCodec) error {
	topic := prefix + "-" + name
	if err := produce(topic, kgo.ProducerBatchCompression(codec), kgo.DisableIdempotentWrite()); err != nil {
		return err
	}
	return check(topic)
}

func idempotent() error {
	topic := prefix + "-idempotent"
	if err := produce(topic); err != nil {
		return err
	}
	return check(topic)
}

func seek() error {
	for _, offset := range []int64{150, 33} {
		records, err := take(prefix+"-lz4", offset, 1)
		if err != nil {
			return err
		}
		if records[0].Offset != offset {
			return fmt.Errorf("%d instead of %d", records[0].Offset, offset)
		}
	}
	return nil
}

func withAdmin(use func(context.Context, *kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return use(ctx, kadm.NewClient(client))
}

func ends(ctx context.Context, admin *kadm.Client) error {
	topic := prefix + "-zstd"
	begin, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	end, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if begin[topic][0].Offset != 0 || end[topic][0].Offset != count {
		return fmt.Errorf("%v to %v", begin[topic][0], end[topic][0])
	}
	return nil
}

func byTime(ctx context.Context, admin *kadm.Client) error {
	topic := prefix + "-zstd"
	// What is behind all records is at the end.
	for wanted, offset := range map[int64]int64{start + 42: 42, start - 1: 0, start + count: count} {
		found, err := admin.ListOffsetsAfterMilli(ctx, wanted, topic)
		if err != nil {
			return err
		}
		if found[topic][0].Offset != offset {
			return fmt.Errorf("%v instead of %d", found[topic][0], offset)
		}
	}
	return nil
}

// goesOn reads a part as one member, commits, and reads the rest as the next one.
func goesOn(topic string, options ...kgo.Opt) error {
	if err := produce(topic, kgo.DisableIdempotentWrite()); err != nil {
		return err
	}
	next := int64(0)
	for _, wanted := range []int{part, count - part} {
		records, err := takeAsMember(topic, wanted, options...)
		if err != nil {
			return err
		}
		for _, record := range records {
			if record.Offset != next {
				return fmt.Errorf("offset %d instead of %d", record.Offset, next)
			}
			next++
		}
	}
	return nil
}

func takeAsMember(topic string, wanted int, options ...kgo.Opt) ([]*kgo.Record, error) {
	client, err := member(topic, topic, options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var taken []*kgo.Record
	for len(taken) < wanted {
		fetches := client.PollRecords(ctx, wanted-len(taken))
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		taken = append(taken, fetches.Records()...)
	}
	return taken, client.CommitRecords(ctx, taken...)
}

func member(topic, group string, options ...kgo.Opt) (*kgo.Client, error) {
	options = append(options, kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	return kgo.NewClient(options...)
}

// twoMembers share a topic: each reads its own part of it, once the group is stable with both.
func twoMembers(topic, group string, stable func(group string, members int) error, options ...kgo.Opt) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var members []*kgo.Client
	for range 2 {
		client, err := member(topic, group, options...)
		if err != nil {
			return err
		}
		defer client.Close()
		members = append(members, client)
	}
	if err := stable(group, len(members)); err != nil {
		return err
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	for n := range count {
		record := &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: value(n)}
		if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	seen := map[string]int{}
	for len(seen) < count && ctx.Err() == nil {
		for index, client := range members {
			turn, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			client.PollFetches(turn).EachRecord(func(record *kgo.Record) {
				seen[fmt.Sprintf("%d/%d", record.Partition, record.Offset)] = index
			})
			cancel()
		}
	}
	shares := []int{0, 0}
	for _, index := range seen {
		shares[index]++
	}
	if shares[0] != count/2 || shares[1] != count/2 {
		return fmt.Errorf("shares of %v", shares)
	}
	return nil
}

// stableClassic waits until a group of the classic protocol has so many members.
func stableClassic(group string, members int) error {
	return withAdmin(func(ctx context.Context, admin *kadm.Client) error {
		for ctx.Err() == nil {
			described, err := admin.DescribeGroups(ctx, group)
			if err != nil {
				return err
			}
			of := described[group]
			if of.State == "Stable" && len(of.Members) == members {
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
		return ctx.Err()
	})
}

func create(ctx context.Context, admin *kadm.Client, topic string) error {
	retention := "60000"
	created, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, topic)
	if err != nil {
		return err
	}
	if created.NumPartitions != 2 {
		return fmt.Errorf("%v", created)
	}
	return nil
}

func topics(ctx context.Context, admin *kadm.Client) error {
	topic := prefix + "-topics"
	if err := create(ctx, admin, topic); err != nil {
		return err
	}
	updated, err := admin.UpdatePartitions(ctx, 3, topic)
	if err != nil || updated.Error() != nil {
		return fmt.Errorf("%v, %v", updated, err)
	}
	listed, err := admin.ListTopics(ctx, topic)
	if err != nil || len(listed[topic].Partitions) != 3 {
		return fmt.Errorf("%v, %v", listed, err)
	}
	deleted, err := admin.DeleteTopics(ctx, topic)
	if err != nil || deleted.Error() != nil {
		return fmt.Errorf("%v, %v", deleted, err)
	}
	all, err := admin.ListTopics(ctx)
	if err != nil || all.Has(topic) {
		return fmt.Errorf("%v, %v", all, err)
	}
	return nil
}

func retention(ctx context.Context, admin *kadm.Client, topic string) (string, error) {
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	for _, config := range described[0].Configs {
		if config.Key == "retention.ms" {
			return config.MaybeValue(), described[0].Err
		}
	}
	return "", fmt.Errorf("%v", described)
}

func settings(ctx context.Context, admin *kadm.Client) error {
	topic := prefix + "-settings"
	if err := create(ctx, admin, topic); err != nil {
		return err
	}
	longer := "70000"
	for _, change := range []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "retention.ms", Value: &longer},
		{Op: kadm.DeleteConfig, Name: "retention.ms"},
	} {
		altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, topic)
		if err != nil || altered[0].Err != nil {
			return fmt.Errorf("%v, %v", altered, err)
		}
		expected := "604800000"
		if change.Value != nil {
			expected = *change.Value
		}
		if found, err := retention(ctx, admin, topic); err != nil || found != expected {
			return fmt.Errorf("%s instead of %s, %v", found, expected, err)
		}
	}
	return nil
}

func feature(name string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed: " + strings.NewReplacer("\n", " ", "|", "/").Replace(err.Error())
	}
	fmt.Printf("%s\t%s\n", name, outcome)
}

func main() {
	if info, found := debug.ReadBuildInfo(); found {
		for _, module := range info.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				fmt.Printf("version\t%s\n", strings.TrimPrefix(module.Version, "v"))
			}
		}
	}
	feature("produce none", codec("none", kgo.NoCompression()))
	feature("produce gzip", codec("gzip", kgo.GzipCompression()))
	feature("produce snappy", codec("snappy", kgo.SnappyCompression()))
	feature("produce lz4", codec("lz4", kgo.Lz4Compression()))
	feature("produce zstd", codec("zstd", kgo.ZstdCompression()))
	feature("idempotent", idempotent())
	feature("assign, seek", seek())
	feature("ends", withAdmin(ends))
	feature("by time", withAdmin(byTime))
	feature("from gRPC", fromGRPC())
	feature("topics", withAdmin(topics))
	feature("settings", withAdmin(settings))
	feature("group", goesOn(prefix+"-group"))
	feature("two members", twoMembers("shared-"+prefix, prefix+"-two", stableClassic))
	feature("static member", staticMember())
	feature("cooperative", cooperative())
	feature("group (KIP-848)", newerGroup())
	feature("two members (KIP-848)", twoOfTheNewerProtocol())
}
