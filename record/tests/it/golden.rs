//! Batches that other implementations have written, byte for byte.

use bytes::Bytes;
use minikafka_record::{Compression, RecordBatch};

use crate::messages::{CODECS, Message, build, read};

/// Written by kafka-python 3, an independent implementation.
const GOLDEN: &str = "00000000000000000000005600000000028ce6fd510000000000020000018bcfe568000000018bcfe5687bffffffff\
                      ffffffffffffffffffff000000031c000000066b65790a68656c6c6f001c00f60102010004026802760268010c000104000100";

#[test]
fn bytes_are_those_of_another_implementation() {
    let message = |timestamp, key: Option<&[u8]>, value: Option<&[u8]>| Message {
        timestamp,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    };
    let mut messages = vec![
        message(1_700_000_000_000, Some(b"key"), Some(b"hello")),
        message(1_700_000_000_123, None, Some(b"")),
        message(1_699_999_999_999, Some(b""), None),
    ];
    messages[1].headers = vec![(b"h".to_vec(), Some(b"v".to_vec())), (b"h".to_vec(), None)];
    let built = build(&messages);
    let hex: String = built.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
    assert_eq!(read(&RecordBatch::parse(built).unwrap()), messages);
}

/// The messages of all compressed batches below.
fn compressed_messages() -> Vec<Message> {
    (0..20)
        .map(|i| Message {
            timestamp: 1_700_000_000_000 + i,
            key: (i % 2 == 1).then(|| b"key".to_vec()),
            value: Some(format!("again and again {i}").into_bytes()),
            headers: if i == 3 { vec![(b"h".to_vec(), Some(b"v".to_vec()))] } else { Vec::new() },
        })
        .collect()
}

/// Written by `DefaultRecordBatchBuilder` of kafka-python 3.0.12, with zlib, python-snappy 0.7.3 (cramjam
/// 2.14), lz4 4.4.5 and zstandard 0.25. Its snappy is framed as snappy-java does it, and its lz4 frame says
/// how long the content is.
const KAFKA_PYTHON: [(Compression, &str); 4] = [
    (
        Compression::Gzip,
        "0000000000000000000000e100000000020d8aa34e0001000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff000000141f8b0800db6e016b02ff6dcf5f0784401405f0d3489224499264243d8ee97fb15f66d8\
         b5bb961e97fdf67bd73edefb76387e8e630078adbbbbe7a9dd79d5ff643143a9e075fbb06a8081ef7332e2822010c9a4\
         d443bd0dc290b39996a248640b2dc531272b912411c946244d39d9896499480e58e4b9d7b19f162b8ae2677837102a4b\
         018d84aa4a4613a1ba16d04ca86964b410d25a402ba1b695d146a8eb04b413ea7b191df8028a4960420c020000",
    ),
    (
        Compression::Snappy,
        "00000000000000000000012900000000025521f6660002000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff0000001482534e41505059000000000100000001000000e48c043c2e0000000122616761696e20\
         616e6420090a24300034000202066b6579421b001431002e0004044633001432003c000606523300243302026802762e\
         00080846370014340034000a0a5237001435002e000c0c46330014360034000e0e5233001437002e0010104633001438\
         00340012125233001c390030001414012409f9390318313000360016160134461c00143100300018184a350014320036\
         001a1a56350014330030001c1c4a350014340036001e1e563500143500300020204a3500143600360022225635001437\
         00300024244a350014380036002626563500043900",
    ),
    (
        Compression::Lz4,
        "00000000000000000000012a0000000002da68cac30003000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff0000001404224d1868400c0200000000000024e2000000f2012e0000000122616761696e20616e\
         64200a00ad300034000202066b65791b006e31002e00040433006f32003c000606330002ae3302026802762e00080837\
         006f340034000a0a3700026e35002e000c0c33006f360034000e0e3300026e37002e00101033006f3800340012123300\
         02823900300014140124f900060301703130003600161634000e1c006f3100300018183500006f320036001a1a350003\
         6f330030001c1c3500006f340036001e1e3500036f3500300020203500006f3600360022223500036f37003000242435\
         00006f380036002626350000506e2031390000000000",
    ),
    (
        Compression::Zstd,
        "0000000000000000000000e10000000002326494800004000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff0000001428b52ffd600c0135050002891c1e40655863e0e4f28c295a5751d4c888f2839431e812\
         637446677436b74d016f14f5aec5b89e4dd3fb42b88e49d2fb8ca2f50b82deade759afa2e3bc6b1589a659df18e6b9b6\
         2ccb334579be49b21c4390e7f3389600aff0de651807b68a627915303818ef3d5728e838d81938023711bf0c15004029\
         202940292029402920294029582505730f166b00c2c1578057c057acf20af88a561e025fb1ca2b3e2752ac2c01",
    ),
];

/// Sent by librdkafka 2.16.0, through confluent-kafka 2.16.1, to a listener that answered ApiVersions,
/// Metadata and Produce and kept the bytes. Its snappy is one block without a frame.
const LIBRDKAFKA: [(Compression, &str); 4] = [
    (
        Compression::Gzip,
        "0000000000000000000000e10000000002ab3543240001000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff000000141f8b08000000000000036dcf5f0784401405f0d3489224499264243d8ee97fb15f66d8\
         b5bb961e97fdf67bd73edefb76387e8e630078adbbbbe7a9dd79d5ff643143a9e075fbb06a8081ef7332e2822010c9a4\
         d443bd0dc290b39996a248640b2dc531272b912411c946244d39d9896499480e58e4b9d7b19f162b8ae2677837102a4b\
         018d84aa4a4613a1ba16d04ca86964b410d25a402ba1b695d146a8eb04b413ea7b191df8028a4960420c020000",
    ),
    (
        Compression::Snappy,
        "0000000000000000000001150000000002854f68910002000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff000000148c043c2e0000000122616761696e20616e6420090a24300034000202066b6579421b00\
         1431002e0004044633001432003c000606523300243302026802762e00080846370014340034000a0a5237001435002e\
         000c0c46330014360034000e0e5233001437002e001010463300143800340012125233001c390030001414012409f939\
         0318313000360016160134461c00143100300018184a350014320036001a1a56350014330030001c1c4a350014340036\
         001e1e563500143500300020204a350014360036002222563500143700300024244a3500143800360026265635000439\
         00",
    ),
    (
        Compression::Lz4,
        "0000000000000000000001220000000002e6f62ffa0003000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff0000001404224d18604082e2000000f2012e0000000122616761696e20616e64200a00ad300034\
         000202066b65791b006e31002e00040433006f32003c000606330002ae3302026802762e00080837006f340034000a0a\
         3700026e35002e000c0c33006f360034000e0e3300026e37002e00101033006f38003400121233000282390030001414\
         0124f900060301703130003600161634000e1c006f3100300018183500006f320036001a1a3500036f330030001c1c35\
         00006f340036001e1e3500036f3500300020203500006f3600360022223500036f3700300024243500006f3800360026\
         26350000506e2031390000000000",
    ),
    (
        Compression::Zstd,
        "0000000000000000000000de00000000022025db500004000000130000018bcfe568000000018bcfe56813ffffffffff\
         ffffffffffffffffff0000001428b52ffd005825050032891c1c4067670c20b8df5245fc0cc31ca2237123198cda111d\
         d111dd91d8146bd3743d93a4772c8aae5729df2f08ba4e9fe7dd729ceb55d3bc531fd74586b9be94342ccbbba628d3b3\
         24798e21c8f47a1ccf2fc3984e8be259800308ad18075c11c473eae3ba08e1f495016f931e61136cd1f0cf1400402920\
         29402920294029202940295825e5a7e701c2c1578057c057acf20af88a561e025fb1ca2b3e2752ac2c01",
    ),
];

fn bytes(hex: &str) -> Bytes {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..][..2], 16).unwrap()).collect()
}

#[test]
fn compressed_batches_of_other_implementations_are_read() {
    for (codec, hex) in KAFKA_PYTHON.into_iter().chain(LIBRDKAFKA) {
        let batch = RecordBatch::parse(bytes(hex)).unwrap();
        assert_eq!(batch.header().compression(), Some(codec));
        batch.validate().unwrap();
        assert_eq!(read(&batch), compressed_messages(), "{codec}");
    }
}

#[test]
fn ours_are_no_larger_than_those_of_other_implementations() {
    let plain = RecordBatch::parse(build(&compressed_messages())).unwrap();
    for codec in CODECS {
        let ours = plain.compress(codec).bytes().len();
        let (_, theirs) = KAFKA_PYTHON.iter().find(|(other, _)| *other == codec).unwrap();
        assert!(ours <= theirs.len() / 2 + 16, "{codec}: {ours} bytes, theirs {}", theirs.len() / 2);
    }
}
