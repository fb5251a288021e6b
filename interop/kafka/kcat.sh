#!/usr/bin/env bash
# kcat, and what it does: one line for each feature, `feature<TAB>outcome`.
set -uo pipefail
bootstrap=$1 prefix=$2
count=200

sent() { for n in $(seq $count); do echo "key $n:value $n again again again again again"; done; }

# What is sent is read back, whole and in order.
codec() { # topic, settings of the producer...
  local topic=$1; shift
  sent | kcat -q -b "$bootstrap" -t "$topic" -p 0 -P -K : -H number=1 "$@" || return 1
  diff <(sent) <(kcat -q -b "$bootstrap" -t "$topic" -p 0 -C -o beginning -e -K :) >&2
}

at() { kcat -q -b "$bootstrap" -t "$prefix-lz4" -p 0 -C -o "$1" -c 1 -f '%o %h\n'; }

seek() { [ "$(at 150)" = "150 number=1" ] && [ "$(at 33)" = "33 number=1" ] && [ "$(at -1)" = "$((count - 1)) number=1" ]; }

metadata() { kcat -b "$bootstrap" -L -t "$prefix-zstd" | grep -q 'partition 0, leader 1, replicas: 1, isrs: 1'; }

query() { kcat -q -b "$bootstrap" -Q -t "$prefix-zstd:0:$1" 2>&1; }

ends() { query -1 | grep -q "offset $count" && query -2 | grep -q 'offset 0' && metadata; }

# The first record of that time or later, as the topic itself shows it; and what is before all of them, and behind.
by_time() {
  local times time wanted
  times=$(over_kafka "$prefix-zstd" | cut -f 2,3)
  for offset in 0 77 $((count - 1)); do
    time=$(awk -v at=$offset '$1 == at { print $2 }' <<< "$times")
    wanted=$(awk -v time="$time" '$2 >= time { print $1; exit }' <<< "$times")
    query "$time" | grep -q "offset $wanted\$" || return
  done
  query 1000 | grep -q 'offset 0' && query 99999999999999 | grep -qE "offset (-1|$count)"
}

# A topic as each door shows it: partition, offset, time, key and value. Over gRPC numbers begin with 1.
over_kafka() { kcat -q -b "$bootstrap" -t "$1" -p 0 -C -o beginning -e -f '%p\t%o\t%T\t%k\t%s\n'; }
over_grpc() { "$TOOLS/consume" -host "$GRPC" -topic "$1" -until-end -format "$2"; }
same() { # topic, headers in JSON, headers as kcat has them
  diff <(over_kafka "$1") <(over_grpc "$1" verbose | awk -F '\t' -v OFS='\t' '{ $2--; print }') >&2 &&
    diff <(sent) <(over_grpc "$1" verbose | awk -F '\t' '{ print $4 ":" $5 }') >&2 &&
    [ "$(over_grpc "$1" json | grep -cF "\"headers\":[$2]}")" = $count ] &&
    [ "$(kcat -q -b "$bootstrap" -t "$1" -p 0 -C -o beginning -e -f '%h\n' | grep -cx "$3")" = $count ]
}

to_grpc() { for codec in none gzip snappy lz4 zstd; do same "$prefix-$codec" '{"name":"number","value":"1"}' number=1 || return; done; }

# By default nothing is compressed.
from_grpc() {
  local codec
  for codec in none gzip snappy lz4 zstd; do
    sent | "$TOOLS/produce" -host "$GRPC" -topic "$prefix-from-grpc-$codec" -partition 0 -key-separator : $([ $codec = none ] || echo "-compression $codec") &&
      same "$prefix-from-grpc-$codec" "" "" || return
  done
}

# The first member of a group reads a part, and the next one goes on behind it.
member() { # group, count, settings...
  local group=$1 count=$2; shift 2
  kcat -q -b "$bootstrap" -X auto.offset.reset=earliest -X enable.auto.offset.store=true "$@" -K : -c "$count" -G "$group" "$prefix-lz4"
}

group() { diff <(sent) <(member "$prefix-group" 120 && member "$prefix-group" $((count - 120))) >&2; }

# It has not left, and comes back under its name: otherwise the next one would wait for its session timeout.
static_member() {
  local name=(-X group.instance.id=one -X session.timeout.ms=600000 -X max.poll.interval.ms=600000)
  diff <(sent) <(member "$prefix-static" 120 "${name[@]}" && member "$prefix-static" $((count - 120)) "${name[@]}") >&2
}

feature() { # name, command...
  local name=$1; shift
  if "$@"; then printf '%s\tok\n' "$name"; else printf '%s\tfailed\n' "$name"; fi
}

printf 'version\t%s\n' "$(kcat -V | sed -n 's/^Version \([0-9.]*\).*librdkafka \([0-9.]*\).*/\1 (librdkafka \2)/p')"
for codec in none gzip snappy lz4 zstd; do feature "produce $codec" codec "$prefix-$codec" -z "$codec"; done
feature "idempotent" codec "$prefix-idempotent" -X enable.idempotence=true
feature "assign, seek" seek
feature "ends" ends
feature "by time" by_time
feature "to gRPC" to_grpc
feature "from gRPC" from_grpc
feature "group" group
feature "static member" static_member
