// A client shaped like the original MiniKafka's client library: a producer bound to a topic, a consumer that
// keeps its position and polls. Uses stubs of the original wire contract, and checks what those clients rely on.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "original/protocol"
)

const timeout = 10 * time.Second

// consumer keeps the number to read from, and moves it only when a poll succeeds.
type consumer struct {
	client   pb.MiniKafkaClient
	topic    string
	readFrom uint32
}

func (c *consumer) poll() ([][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request := &pb.PollRequest{Topic: c.topic, ReadFrom: &pb.MsgNumber{MsgNumber: c.readFrom}}
	response, err := c.client.Poll(ctx, request)
	if err != nil {
		return nil, err
	}
	c.readFrom = response.GetNewReadFrom().GetMsgNumber()
	messages := [][]byte{}
	for _, payload := range response.GetPayloads() {
		messages = append(messages, payload.GetPayload())
	}
	return messages, nil
}

func send(client pb.MiniKafkaClient, topic string, message []byte) (uint32, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request := &pb.ProduceRequest{Topic: &pb.Topic{Topic: topic}, Payload: &pb.Payload{Payload: message}}
	number, err := client.Produce(ctx, request)
	return number.GetMsgNumber(), err
}

func check(what string, ok bool, detail ...any) {
	if !ok {
		log.Fatalf("FAILED: %s: %s", what, fmt.Sprint(detail...))
	}
	fmt.Println("ok:", what)
}

func main() {
	host := flag.String("host", "localhost:9999", "host:port of the server")
	flag.Parse()
	connection, err := grpc.NewClient(*host, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := pb.NewMiniKafkaClient(connection)
	topic := fmt.Sprintf("original %d", os.Getpid())

	_, err = (&consumer{client, topic, 1}).poll()
	check("an unknown topic is an error that says so",
		status.Code(err) == codes.NotFound && strings.Contains(err.Error(), "topic"), err)

	for want := uint32(1); want <= 100; want++ {
		number, err := send(client, topic, fmt.Appendf(nil, "message %d", want))
		if err != nil || number != want {
			log.Fatalf("FAILED: number %d instead of %d: %v", number, want, err)
		}
	}
	fmt.Println("ok: messages are numbered 1, 2, 3...")

	reader := &consumer{client, topic, 1}
	messages, err := reader.poll()
	check("a poll gives all messages", err == nil && len(messages) == 100 && string(messages[41]) == "message 42", err)
	check("and the number to read from next", reader.readFrom == 101, reader.readFrom)
	messages, err = reader.poll()
	check("at the end there is nothing, the position stays", err == nil && len(messages) == 0 && reader.readFrom == 101, err)
	beyond := &consumer{client, topic, 1000}
	messages, err = beyond.poll()
	check("nor beyond it", err == nil && len(messages) == 0 && beyond.readFrom == 1000, err)
	oldest := &consumer{client, topic, 0}
	messages, err = oldest.poll()
	check("0 means the oldest", err == nil && len(messages) == 100, err)

	number, err := send(client, topic, []byte{})
	check("an empty message is a message", err == nil && number == 101, err)

	large := make([]byte, 1<<20)
	for range 10 {
		if _, err := send(client, topic, large); err != nil {
			log.Fatal(err)
		}
	}
	total := 0
	for polls := 0; total < 11 && polls < 20; polls++ {
		messages, err = reader.poll()
		if err != nil {
			log.Fatal("FAILED: a poll of large messages: ", err)
		}
		total += len(messages)
	}
	check("replies fit the default limit of 4 MiB, the next poll goes on", total == 11 && reader.readFrom == 112, total, reader.readFrom)

	_, err = client.Produce(context.Background(), &pb.ProduceRequest{Payload: &pb.Payload{}})
	check("without a topic nothing is stored", status.Code(err) == codes.InvalidArgument, err)
	_, err = send(client, "../escape", []byte("x"))
	check("a name that is a path is refused", status.Code(err) == codes.InvalidArgument, err)
}
