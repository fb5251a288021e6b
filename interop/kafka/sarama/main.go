// sarama, and what it does: one line for each feature, `feature<TAB>outcome`.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const (
	count = 200
	start = 1_700_000_000_000
)

var bootstrap, prefix = os.Args[1], os.Args[2]

var codecs = []sarama.CompressionCodec{
	sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	return config
}

func key(n int) sarama.Encoder {
	if n%2 == 0 {
		return sarama.StringEncoder(fmt.Sprintf("key %d", n))
	}
	return nil
}

func value(n int) []byte {
	if n%5 == 0 {
		return []byte{}
	}
	return []byte(fmt.Sprintf("value %d %s", n, strings.Repeat("again ", 20)))
}

func headers(n int) []sarama.RecordHeader {
	return []sarama.RecordHeader{
		{Key: []byte("number"), Value: []byte(fmt.Sprint(n))},
		{Key: []byte("number"), Value: []byte{}},
		{Key: []byte("naïve"), Value: []byte{0xff, 0}},
	}
}

func produce(topic string, config *sarama.Config) error {
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for n := range count {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Key: key(n), Value: sarama.ByteEncoder(value(n)), Headers: headers(n), Timestamp: time.UnixMilli(start + int64(n)),
		})
	}
	return producer.SendMessages(messages)
}

// take reads from an offset of partition 0.
func take(topic string, from int64, wanted int) ([]*sarama.ConsumerMessage, error) {
	consumer, err := sarama.NewConsumer([]string{bootstrap}, config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, from)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	deadline := time.After(30 * time.Second)
	var taken []*sarama.ConsumerMessage
	for len(taken) < wanted {
		select {
		case message := <-partition.Messages():
			taken = append(taken, message)
		case <-deadline:
			return nil, fmt.Errorf("%d of %d messages in time", len(taken), wanted)
		}
	}
	return taken, nil
}

func check(topic string) error {
	messages, err := take(topic, 0, count)
	if err != nil {
		return err
	}
	for n, message := range messages {
		same := has(message, n) && message.Timestamp.UnixMilli() == start+int64(n) && len(message.Headers) == 3
		for i, header := range headers(n) {
			same = same && bytes.Equal(message.Headers[i].Key, header.Key) && bytes.Equal(message.Headers[i].Value, header.Value)
		}
		if !same {
			return fmt.Errorf("message %d is %v", n, message)
		}
	}
	return nil
}

// has says whether a message is at its place, with its key and its value.
func has(message *sarama.ConsumerMessage, n int) bool {
	var wanted []byte
	if key(n) != nil {
		wanted, _ = key(n).Encode()
	}
	return message.Offset == int64(n) && bytes.Equal(message.Key, wanted) && (message.Key == nil) == (wanted == nil) && bytes.Equal(message.Value, value(n))
}

// fromGRPC reads what was sent over gRPC: in each codec, and with headers and times.
func fromGRPC() error {
	for _, codec := range codecs {
		messages, err := take(prefix+"-from-grpc-"+codec.String(), 0, count)
		if err != nil {
			return err
		}
		for n, message := range messages {
			if !has(message, n) || len(message.Headers) > 0 {
				return fmt.Errorf("%v: message %d is %v", codec, n, message)
			}
		}
	}
	return check(prefix + "-from-grpc-headers")
}

func codec(codec sarama.CompressionCodec) error {
	topic, config := prefix+"-"+codec.String(), config()
	config.Producer.Compression = codec
	if err := produce(topic, config); err != nil {
		return err
	}
	return check(topic)
}

func idempotent() error {
	topic, config := prefix+"-idempotent", config()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	if err := produce(topic, config); err != nil {
		return err
	}
	return check(topic)
}

func seek() error {
	for _, offset := range []int64{150, 33} {
		messages, err := take(prefix+"-lz4", offset, 1)
		if err != nil {
			return err
		}
		if messages[0].Offset != offset {
			return fmt.Errorf("%d instead of %d", messages[0].Offset, offset)
		}
	}
	return nil
}

// offsets checks what is found by time, or by the name of a place.
func offsets(expected map[int64]int64) error {
	client, err := sarama.NewClient([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer client.Close()
	for wanted, offset := range expected {
		found, err := client.GetOffset(prefix+"-zstd", 0, wanted)
		if err != nil || found != offset {
			return fmt.Errorf("%d instead of %d, %v", found, offset, err)
		}
	}
	return nil
}

func withAdmin(topic string, use func(sarama.ClusterAdmin, string) error) error {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	retention := "60000"
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention}}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		return err
	}
	return use(admin, topic)
}

func topics(admin sarama.ClusterAdmin, topic string) error {
	if err := admin.CreatePartitions(topic, 3, nil, false); err != nil {
		return err
	}
	described, err := admin.DescribeTopics([]string{topic})
	if err != nil || len(described[0].Partitions) != 3 {
		return fmt.Errorf("%v, %v", described, err)
	}
	if err := admin.DeleteTopic(topic); err != nil {
		return err
	}
	listed, err := admin.ListTopics()
	if _, found := listed[topic]; err != nil || found {
		return fmt.Errorf("%v, %v", listed, err)
	}
	return nil
}

func settings(admin sarama.ClusterAdmin, topic string) error {
	longer := "70000"
	for _, change := range []struct {
		entry    sarama.IncrementalAlterConfigsEntry
		expected string
	}{
		{sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &longer}, longer},
		{sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationDelete}, "604800000"},
	} {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": change.entry}
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false); err != nil {
			return err
		}
		resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}
		found, err := admin.DescribeConfig(resource)
		if err != nil || len(found) != 1 || found[0].Value != change.expected {
			return fmt.Errorf("%v instead of %s, %v", found, change.expected, err)
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
			if module.Path == "github.com/IBM/sarama" {
				fmt.Printf("version\t%s\n", strings.TrimPrefix(module.Version, "v"))
			}
		}
	}
	for _, compression := range codecs {
		feature("produce "+compression.String(), codec(compression))
	}
	feature("idempotent", idempotent())
	feature("assign, seek", seek())
	feature("ends", offsets(map[int64]int64{sarama.OffsetOldest: 0, sarama.OffsetNewest: count}))
	feature("by time", offsets(map[int64]int64{start + 42: 42, start - 1: 0, start + count: -1}))
	feature("from gRPC", fromGRPC())
	feature("topics", withAdmin(prefix+"-topics", topics))
	feature("settings", withAdmin(prefix+"-settings", settings))
	feature("group", group())
	feature("two members", twoMembers())
	feature("static member", staticMember())
}
