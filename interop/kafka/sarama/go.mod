module minikafka/interop/sarama

go 1.26
