// The codecs that kafkajs leaves to others. Its plugins for lz4 and zstd build old C++ with what the machine has; these are
// JavaScript and WebAssembly.
const { CompressionCodecs, CompressionTypes } = require("kafkajs")
const lz4 = require("lz4js")
const snappy = require("kafkajs-snappy")
const zstd = require("@bokuweb/zstd-wasm")

const codec = ({ compress, decompress }) => () => ({
  compress: async (encoder) => Buffer.from(compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(decompress(buffer)),
})

exports.add = async () => {
  await zstd.init()
  CompressionCodecs[CompressionTypes.Snappy] = snappy
  CompressionCodecs[CompressionTypes.LZ4] = codec(lz4)
  CompressionCodecs[CompressionTypes.ZSTD] = codec(zstd)
}
