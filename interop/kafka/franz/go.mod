module minikafka/interop/franz

go 1.26
