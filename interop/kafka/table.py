"""Makes the table of clients and features out of what the clients said: one file for each client. Fails when a cell has
failed, and when one is empty that the table of before had filled: `table.py RESULTS TABLE_OF_BEFORE`."""

import pathlib
import sys

FEATURES = ["produce none", "produce gzip", "produce snappy", "produce lz4", "produce zstd", "idempotent",
            "assign, seek", "ends", "by time", "to gRPC", "from gRPC", "topics", "settings", "group", "two members", "static member", "cooperative",
            "group (KIP-848)", "two members (KIP-848)", "forgotten", "load"]
HEAD = """# Kafka clients that were run

Each cell is a real run against a real server, written by `interop/kafka/run`; an empty one is what the client does not have or
its program does not do. A producer sends 200 messages with keys, null keys, empty values, headers and timestamps, in the codec of the
column; then they are read back, whole and in order. *ends* and *by time* are ListOffsets; *to gRPC*: what the client has sent in each
codec is read over gRPC by `consume`, whole and in order; *from gRPC*: the client reads what `produce` has sent, not compressed and in each codec, and sees what `consume` sees. Headers
and times of its own, which `produce` does not give, are sent over gRPC by grpcurl, but for kcat and the tools. *topics* is to create one, to give it
partitions and to delete it; *settings* is to describe and to change them; *forgotten*: an idempotent producer goes on when the server has lost all that it knew
of it, and sends everything; *load* is kafka-producer-perf-test. kafka-tools are Kafka's console tools, of its Java client:
kafka-topics, kafka-configs, kafka-console-producer, kafka-console-consumer, kafka-get-offsets, kafka-consumer-groups. *group*: a member reads a part and commits, and the
next one goes on behind it. *two members* share the partitions of a topic evenly, and each reads its own. *static member*: one with a `group.instance.id` stops,
comes back under that name and has what it had; the other one, which kcat and the tools do without, gives nothing up. *cooperative*: with the assignor `cooperative-sticky` a member keeps what
it has, but for what a second one is to get. All these are by the classic protocol; *KIP-848* is the same with `group.protocol=consumer`, and the group is described while it has a member.
librdkafka's second member subscribes by a pattern.
"""


def cells_of(page):
    """What a table says, by client and feature."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    names, *clients = rows or [[]]
    return {client: {name: cell for name, cell in zip(names[1:], cells) if cell} for client, *cells in clients}


def wrong(client, said, before):
    """Whatever a client says that is not `ok` is a failure, and so is what it used to say and does not."""
    if said.get("version", "").startswith("skipped"):
        return
    if "version" not in said:
        yield f"{client}: did not say its version"
    for feature, outcome in said.items():
        if feature != "version" and (outcome != "ok" or feature not in FEATURES):
            yield f"{client}: {feature}: {outcome if feature in FEATURES else f'{outcome}, which is no feature of the table'}"
    for feature in before:
        if feature not in said:
            yield f"{client}: {feature}: was in the table before, and is not now"


results, before = pathlib.Path(sys.argv[1]), cells_of(pathlib.Path(sys.argv[2]).read_text())
said = {path.name: dict(line.split("\t", 1) for line in path.read_text().splitlines() if "\t" in line)
        for path in sorted(results.iterdir()) if not path.name.endswith(".stderr")}
print(HEAD)
print("| client | version | " + " | ".join(FEATURES) + " |")
print("|---|---|" + "---|" * len(FEATURES))
for client, of in said.items():
    cells = [of.get(feature, "") for feature in FEATURES]
    print(f"| {client} | {of.get('version', '?')} | " + " | ".join(cells) + " |")
print("""
kafkajs brings no codec but gzip: it has snappy by kafkajs-snappy, lz4 by lz4js, zstd by @bokuweb/zstd-wasm. It reads in groups only, and has no *assign, seek*; the first member
of *group* reads everything.""")
fire = results.parent / "fire"
if fire.exists():
    # One line for each group.
    print("\n" + "\n\n".join(fire.read_text().split("\n")).strip())

news = [line for client, of in said.items() for line in wrong(client, of, before.get(client, {}))]
news += [f"{client}: was in the table before, and is not now" for client in before if client not in said]
sys.exit("\n".join(news) or None)
