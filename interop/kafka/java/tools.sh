#!/usr/bin/env bash
# Kafka's own console tools, which use its Java client, and what they do: one line for each feature,
# `feature<TAB>outcome`. Started by the names of their classes, as Kafka's scripts do.
set -uo pipefail
jars=$1 bootstrap=$2 prefix=$3
count=200 time=1700000000000
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# Starting fast is worth more here than running fast.
java=(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$jars/*")
tool() { "${java[@]}" "$@"; }
topics() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" "$@"; }
configs() { tool kafka.admin.ConfigCommand --bootstrap-server "$bootstrap" "$@"; }
offsets() { tool org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$bootstrap" --topic "$prefix-zstd" --time "$1"; }

# Headers, key and value of a message.
sent() { for n in $(seq $count); do printf 'number:%s\tkey %s\tvalue %s again again again again again\n' "$n" "$n" "$n"; done; }

consume() { # topic, offset, count...
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$bootstrap" --topic "$1" --partition 0 --offset "$2" --max-messages "$3" \
    --timeout-ms 20000 --property print.headers=true --property print.key=true "${@:4}"
}

# What is sent is read back, whole and in order.
codec() { # topic, codec, properties...
  sent | tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$bootstrap" --topic "$1" --compression-codec "$2" \
    --property parse.headers=true --property parse.key=true --producer-property "$3" || return 1
  diff <(sent) <(consume "$1" earliest $count)
}

seek() {
  [ "$(consume "$prefix-lz4" 150 1 --property print.offset=true --property print.value=false)" = "Offset:150	number:151	key 151" ] &&
    [ "$(consume "$prefix-lz4" 33 1 --property print.offset=true --property print.value=false)" = "Offset:33	number:34	key 34" ]
}

ends() { [ "$(offsets -1)" = "$prefix-zstd:0:$count" ] && [ "$(offsets -2)" = "$prefix-zstd:0:0" ]; }

# The messages have the time at which they were sent.
by_time() { [ "$(offsets $time)" = "$prefix-zstd:0:0" ] && [ -z "$(offsets 99999999999999)" ] && offsets -3 | grep -qE ":0:[0-9]+$"; }

# What `consume` reads over gRPC, as the tools print it.
over_grpc() { # topic
  "$TOOLS/consume" -host "$GRPC" -topic "$1" -partition 0 -until-end -format json |
    sed -E 's/.*"key":"([^"]*)","value":"([^"]*)","headers":\[(\{"name":"number","value":"([^"]*)"\})?\].*/number:\4\t\1\t\2/'
}

to_grpc() { local codec; for codec in none gzip snappy lz4 zstd; do diff <(sent) <(over_grpc "$prefix-$codec") || return; done; }

# `produce` gives no headers.
from_grpc() {
  local codec topic
  for codec in none gzip snappy lz4 zstd; do
    topic=$prefix-from-grpc-$codec
    sent | cut -f 2- | "$TOOLS/produce" -host "$GRPC" -topic "$topic" -partition 0 -key-separator $'\t' $([ $codec = none ] || echo "-compression $codec") &&
      diff <(sent | sed 's/^number:[0-9]*/NO_HEADERS/') <(consume "$topic" earliest $count) || return
  done
}

administer() {
  topics --create --topic "$prefix-topics" --partitions 2 --config retention.ms=60000 &&
    topics --alter --topic "$prefix-topics" --partitions 3 &&
    topics --describe --topic "$prefix-topics" | grep -q 'PartitionCount: 3.*ReplicationFactor: 1.*retention.ms=60000' &&
    topics --delete --topic "$prefix-topics" && ! topics --list | grep -qx "$prefix-topics" &&
    tool org.apache.kafka.tools.ClusterTool cluster-id --bootstrap-server "$bootstrap" | grep -qE '^Cluster ID: [A-Za-z0-9_-]{22}$'
}

configure() {
  topics --create --topic "$prefix-settings" && configs --alter --topic "$prefix-settings" --add-config retention.ms=70000 &&
    configs --describe --topic "$prefix-settings" | grep -q 'DYNAMIC_TOPIC_CONFIG:retention.ms=70000' &&
    configs --alter --topic "$prefix-settings" --delete-config retention.ms &&
    configs --describe --topic "$prefix-settings" --all | grep -q 'retention.ms=604800000' &&
    configs --describe --broker 1 --all | grep -q 'log.retention.ms=604800000'
}

groups() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$bootstrap" --group "$@"; }

read_on() { # topic, group, count, properties...
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$bootstrap" --topic "$1" --group "$2" --max-messages "$3" \
    --timeout-ms 20000 --consumer-property auto.offset.reset=earliest --property print.headers=true --property print.key=true "${@:4}"
}

# Two readers of a group in turn, the group as its tool sees it, back to the beginning, and gone.
group() {
  local group=$prefix-group topic=$prefix-gzip
  diff <(sent) <(read_on "$topic" "$group" 80 && read_on "$topic" "$group" $((count - 80))) &&
    groups "$group" --describe | grep -qE "^$group +$topic +0 +$count +$count +0 " &&
    groups "$group" --reset-offsets --to-earliest --topic "$topic" --execute | grep -qE "^$group +$topic +0 +0 " &&
    groups "$group" --describe | grep -qE "^$group +$topic +0 +0 +$count +$count " && groups "$group" --delete
}

# It has stopped and not left, and comes back under its name.
static_member() {
  local group=$prefix-static topic=$prefix-gzip name=(--consumer-property group.instance.id=one)
  diff <(sent) <(read_on "$topic" "$group" 80 "${name[@]}" && groups "$group" --describe --members | grep -qE ' one .* 1 *$' &&
    read_on "$topic" "$group" $((count - 80)) "${name[@]}")
}

# Two readers that share a topic, one after the other, each with an output of its own. What is sent then is read once, by both.
two_members() {
  local group=$prefix-two directory=$scratch/two one two ended=1
  mkdir "$directory"
  local read=("${java[@]}" org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$bootstrap" --topic "shared-$prefix" --group "$group")
  "${read[@]}" >"$directory/one" &
  one=$!
  members_have 4 && { "${read[@]}" >"$directory/two" & } && two=$! && members_have 2 2 &&
    seq $count | sed 's/.*/key &:value &/' | "$TOOLS/produce" -host "$GRPC" -topic "shared-$prefix" -key-separator : && all_read && ended=0
  kill "$one" ${two:+"$two"}
  wait "$one" ${two:+"$two"}
  return $ended
}

all_read() {
  for _ in $(seq 300); do
    [ "$(cat "$directory"/* | wc -l)" -ge $count ] && break
    sleep 0.1
  done
  diff <(seq $count | sed 's/^/value /' | sort) <(sort "$directory"/*) && [ -s "$directory/one" ] && [ -s "$directory/two" ]
}

# Two readers that share a topic by the assignor, one after the other.
cooperative() {
  local group=$prefix-cooperative one two ended=1
  local read=("${java[@]}" org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$bootstrap" --topic "shared-$prefix" --group "$group" \
    --consumer-property partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor)
  "${read[@]}" &
  one=$!
  members_have 4 && { "${read[@]}" & } && two=$! && members_have 2 2 && groups "$group" --describe --state | grep -q ' cooperative-sticky ' && ended=0
  kill "$one" ${two:+"$two"}
  wait "$one" ${two:+"$two"}
  return $ended
}

members_have() { # so many partitions, each
  for _ in $(seq 15); do
    [ "$(groups "$group" --describe --members | awk -v group="$group" '$1 == group { print $NF }' | xargs)" = "$*" ] && return
  done
  return 1
}

# The same by the newer protocol: two readers in turn, and the group as its tool sees it while it has a member.
newer_group() {
  local group=$prefix-newer topic=$prefix-lz4 listed=
  members() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$bootstrap" --group "$group" "$@"; }
  read_newer() {
    tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$bootstrap" --topic "$topic" --group "$group" "$@" \
      --consumer-property group.protocol=consumer --consumer-property auto.offset.reset=earliest --property print.headers=true --property print.key=true
  }
  diff <(sent) <(read_newer --max-messages 80 --timeout-ms 20000 && read_newer --max-messages $((count - 80)) --timeout-ms 20000) || return 1
  # It has nothing to read, and is a member until it is killed: the process itself, not a shell around it.
  (tool() { exec "${java[@]}" "$@"; } && read_newer) &
  local reader=$! end=$((SECONDS + 40))
  until listed=$(members --describe --members --verbose) && grep -qE "^$group .* $topic:0" <<<"$listed" || [ $SECONDS -gt $end ]; do :; done
  printf '%s\n' "$listed"
  grep -qE "^$group .* $topic:0" <<<"$listed" && members --describe | grep -qE "^$group +$topic +0 +$count +$count +0 +[^ ]+ +/127.0.0.1 " &&
    members --describe --state | grep -qE "^$group .* uniform +Stable +1"
  local outcome=$?
  kill $reader; wait $reader
  return $outcome
}

perform() {
  tool org.apache.kafka.tools.ProducerPerformance --topic "$prefix-perf" --num-records 50000 --record-size 100 --throughput -1 \
    --producer-props "bootstrap.servers=$bootstrap" | grep -q '^50000 records sent'
}

# An idempotent producer goes on although everything is gone that its partition knew of it: a server of its own stops, and
# comes back with an empty directory.
forgotten() {
  local directory=$scratch/forgotten server address=127.0.0.1:0 ended=1
  mkdir "$directory"
  serve one && { perform_slowly >"$directory/performed" & } && local producer=$! && has_message && kill "$server" && wait "$server" &&
    serve two && wait "$producer" && grep -q '^1000 records sent' "$directory/performed" && has_message && ended=0
  kill "$server"
  wait
  cat "$directory/performed"
  return $ended
}

serve() { # directory
  MINIKAFKA_HOST=127.0.0.1:0 MINIKAFKA_KAFKA_HOST=$address MINIKAFKA_ROOT_DIR="$directory/$1" "$TOOLS/server" 2>"$directory/$1.stderr" &
  server=$!
  for _ in $(seq 200); do
    address=$(sed -n 's/.*Kafka clients are served on \(127\.0\.0\.1:[0-9]*\),.*/\1/p' "$directory/$1.stderr") && [ -n "$address" ] && return
    sleep 0.05
  done
  return 1
}

perform_slowly() {
  tool org.apache.kafka.tools.ProducerPerformance --topic perf --num-records 1000 --record-size 100 --throughput 100 \
    --producer-props "bootstrap.servers=$address" acks=all enable.idempotence=true delivery.timeout.ms=60000 request.timeout.ms=5000
}

has_message() {
  tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$address" --topic perf --partition 0 --offset earliest --max-messages 1 \
    --timeout-ms 20000 >/dev/null
}

feature() { # name, command...
  local name=$1; shift
  if "$@" >&2; then printf '%s\tok\n' "$name"; else printf '%s\tfailed\n' "$name"; fi
}

printf 'version\t%s\n' "$(basename "$jars"/kafka-clients-*.jar .jar | sed 's/kafka-clients-//')"
for codec in none gzip snappy lz4 zstd; do feature "produce $codec" codec "$prefix-$codec" "$codec" enable.idempotence=false; done
feature "idempotent" codec "$prefix-idempotent" zstd enable.idempotence=true
feature "assign, seek" seek
feature "ends" ends
feature "by time" by_time
feature "to gRPC" to_grpc
feature "from gRPC" from_grpc
feature "topics" administer
feature "settings" configure
feature "group" group
feature "two members" two_members
feature "static member" static_member
feature "cooperative" cooperative
feature "group (KIP-848)" newer_group
feature "forgotten" forgotten
feature "load" perform
