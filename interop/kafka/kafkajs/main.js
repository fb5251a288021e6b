// kafkajs, and what it does: one line for each feature, `feature<TAB>outcome`. It reads in groups only.
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs")
const codecs = require("./codecs")

const [, , bootstrap, prefix] = process.argv
const COUNT = 200
const PARTITIONS = 4
const TIME = 1_700_000_000_000
const kafka = new Kafka({ clientId: "interop", brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { retries: 3 } })

const message = (n) => ({
  key: n % 2 === 0 ? `key ${n}` : null,
  value: n % 5 ? `value ${n} ${"again ".repeat(20)}` : "",
  headers: { number: [String(n), ""], "naïve": Buffer.from([0xff, 0]) },
  timestamp: String(TIME + n),
  partition: 0,
})

const withAdmin = async (use) => {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

const expect = (found, expected) => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${JSON.stringify(found)}, not ${JSON.stringify(expected)}`)
}

const produce = async (topic, compression, settings) => {
  const producer = kafka.producer({ allowAutoTopicCreation: true, ...settings })
  await producer.connect()
  try {
    const messages = Array.from({ length: COUNT }, (_, n) => message(n))
    const [answer] = await producer.send({ topic, compression, acks: -1, messages })
    expect([answer.errorCode, answer.baseOffset], [0, "0"])
  } finally {
    await producer.disconnect()
  }
}

const codec = async (topic, compression, settings = {}) => {
  await produce(topic, compression, settings)
  const [all] = await read(`${topic}-read`, topic, 1, COUNT)
  check(all)
}

const ends = (topic) =>
  withAdmin(async (admin) => {
    const [found] = await admin.fetchTopicOffsets(topic)
    expect([found.low, found.high], ["0", String(COUNT)])
  })

const byTime = (topic) =>
  withAdmin(async (admin) => {
    // What is behind all records is at the end.
    for (const [wanted, offset] of [[TIME + 42, 42], [TIME - 1, 0], [TIME + COUNT, COUNT]]) {
      const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, wanted)
      expect(found.offset, String(offset))
    }
    // Of a message without a time it takes the clock's, and leaves that out when it looks for the batch's largest.
    const mixed = `${topic}-mixed`
    const producer = kafka.producer({ allowAutoTopicCreation: true })
    await producer.connect()
    const messages = [{ value: "old", timestamp: String(TIME), partition: 0 }, { value: "new", partition: 0 }]
    await producer.send({ topic: mixed, messages }).finally(() => producer.disconnect())
    const found = await admin.fetchTopicOffsetsByTimestamp(mixed, Date.now() - 600_000)
    expect(found.find((of) => of.partition === 0).offset, "1")
  })

const headersOf = (of) => Object.entries(of).flatMap(([name, values]) => [values].flat().map((value) => [name, Buffer.from(value).toString("hex")]))

// All of a topic, whole and in order.
const check = (all) => {
  expect(all.length, COUNT)
  all.forEach((found, n) => {
    const wanted = message(n)
    expect([found.offset, found.key?.toString() ?? null, found.value?.toString() ?? null, found.timestamp, headersOf(found.headers)],
      [String(n), wanted.key, wanted.value, wanted.timestamp, headersOf(wanted.headers)])
  })
}

// What was sent over gRPC: in each codec, and with headers and times.
const fromGrpc = async () => {
  const all = async (topic) => (await read(`${topic}-read`, topic, 1, COUNT))[0]
  for (const name of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    const found = await all(`${prefix}-from-grpc-${name}`)
    const wanted = Array.from({ length: COUNT }, (_, n) => [String(n), message(n).key, message(n).value, []])
    expect(found.map((of) => [of.offset, of.key?.toString() ?? null, of.value?.toString() ?? null, headersOf(of.headers)]), wanted)
  }
  check(await all(`${prefix}-from-grpc-headers`))
}

// Reads as members of a group until so many messages have come, and returns them by member.
const read = async (groupId, topic, members, count, whenSharing = async () => {}) => {
  const consumers = Array.from({ length: members }, () => kafka.consumer({ groupId, heartbeatInterval: 500, maxWaitTimeInMs: 500 }))
  const taken = consumers.map(() => [])
  const shares = consumers.map(() => 0)
  const until = async (isSo, what) => {
    for (let end = Date.now() + 30_000; !isSo(); await new Promise((resolve) => setTimeout(resolve, 50)))
      if (Date.now() > end) throw new Error(what)
  }
  try {
    for (const [index, consumer] of consumers.entries()) {
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => (shares[index] = (payload.memberAssignment[topic] ?? []).length))
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({ eachMessage: async ({ partition, message }) => void taken[index].push({ partition, ...message }) })
    }
    await until(() => shares.every((share) => share > 0 && share === shares[0]), `shares of ${shares}`)
    await whenSharing()
    await until(() => taken.flat().length >= count, `${taken.flat().length} messages`)
  } finally {
    // Commits what was read.
    for (const consumer of consumers) await consumer.disconnect()
  }
  return taken
}

const group = async () => {
  const topic = `${prefix}-group`
  await produce(topic, CompressionTypes.GZIP, {})
  const [all] = await read(topic, topic, 1, COUNT)
  check(all)
  const producer = kafka.producer()
  await producer.connect()
  const [later] = await read(topic, topic, 1, 1, () => producer.send({ topic, messages: [{ value: "later" }] }))
  await producer.disconnect()
  expect(later.map((found) => found.offset), [String(COUNT)])
}

const twoMembers = async () => {
  const topic = `shared-${prefix}`
  const producer = kafka.producer()
  await producer.connect()
  const messages = Array.from({ length: COUNT }, (_, n) => ({ value: `value ${n}`, partition: n % PARTITIONS }))
  const taken = await read(`${prefix}-two`, topic, 2, COUNT, () => producer.send({ topic, messages }))
  await producer.disconnect()
  expect(taken.map((of) => of.length), [COUNT / 2, COUNT / 2])
  expect(new Set(taken.flat().map((found) => `${found.partition}/${found.offset}`)).size, COUNT)
}

const create = async (admin, topic) => {
  const configEntries = [{ name: "retention.ms", value: "60000" }]
  expect(await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1, configEntries }] }), true)
}

const topics = (topic) =>
  withAdmin(async (admin) => {
    await create(admin, topic)
    await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
    const described = await admin.fetchTopicMetadata({ topics: [topic] })
    expect(described.topics[0].partitions.length, 3)
    await admin.deleteTopics({ topics: [topic] })
    expect((await admin.listTopics()).includes(topic), false)
  })

const settings = (name) =>
  withAdmin(async (admin) => {
    await create(admin, name)
    const retention = async () => {
      const { resources } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name }] })
      return resources[0].configEntries.find((entry) => entry.configName === "retention.ms").configValue
    }
    expect(await retention(), "60000")
    const configEntries = [{ name: "retention.ms", value: "70000" }]
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries }] })
    expect(await retention(), "70000")
  })

const feature = async (name, run) => {
  let outcome = "ok"
  try {
    await run()
  } catch (error) {
    console.error(error)
    outcome = `failed: ${error}`.replaceAll("\n", " ").replaceAll("|", "/")
  }
  console.log(`${name}\t${outcome}`)
}

const main = async () => {
  console.log(`version\t${require("kafkajs/package.json").version}`)
  await codecs.add()
  await feature("produce none", () => codec(`${prefix}-none`, CompressionTypes.None))
  await feature("produce gzip", () => codec(`${prefix}-gzip`, CompressionTypes.GZIP))
  await feature("produce snappy", () => codec(`${prefix}-snappy`, CompressionTypes.Snappy))
  await feature("produce lz4", () => codec(`${prefix}-lz4`, CompressionTypes.LZ4))
  await feature("produce zstd", () => codec(`${prefix}-zstd`, CompressionTypes.ZSTD))
  await feature("idempotent", () => codec(`${prefix}-idempotent`, CompressionTypes.GZIP, { idempotent: true, maxInFlightRequests: 1 }))
  await feature("ends", () => ends(`${prefix}-gzip`))
  await feature("by time", () => byTime(`${prefix}-gzip`))
  await feature("from gRPC", fromGrpc)
  await feature("topics", () => topics(`${prefix}-topics`))
  await feature("settings", () => settings(`${prefix}-settings`))
  await feature("group", group)
  await feature("two members", twoMembers)
}

main().then(() => process.exit(0))
