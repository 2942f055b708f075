//! Batches as bytes, for what no client would write: what the broker makes of them, and what lies in its log.

use crate::stack::Stack;
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse, RequestHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The newest version with topics by name and without tagged fields.
const VERSION: i16 = 8;
/// Bytes of a batch before its attributes: what the checksum covers begins there.
const CHECKED_FROM: usize = 21;
/// Where the format's number is.
const MAGIC_AT: usize = 16;

/// A batch of records, each a key and a value; `codec` names how `records` are packed.
pub fn batch(records: &[u8], count: i32, codec: i16) -> Vec<u8> {
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
    let mut checked = codec.to_be_bytes().to_vec();
    checked.extend((count - 1).to_be_bytes());
    for field in [now, now, -1] {
        checked.extend(field.to_be_bytes());
    }
    checked.extend((-1i16).to_be_bytes());
    checked.extend((-1i32).to_be_bytes());
    checked.extend(count.to_be_bytes());
    checked.extend(records);
    let mut batch = 0i64.to_be_bytes().to_vec();
    batch.extend((checked.len() as i32 + 9).to_be_bytes());
    batch.extend((-1i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

/// Records of a batch with these values and one key.
pub fn records(values: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let (head, tail) = record(number as i64, value.len());
        all.extend(varint((head.len() + value.len() + tail.len()) as i64));
        all.extend(head);
        all.extend(*value);
        all.extend(tail);
    }
    all
}

/// What stands before and behind a value of this length.
fn record(number: i64, length: usize) -> (Vec<u8>, Vec<u8>) {
    let mut head = vec![0, 0];
    head.extend(varint(number));
    head.extend(varint(1));
    head.push(b'k');
    head.extend(varint(length as i64));
    (head, vec![0])
}

/// A record of this many megabytes of spaces, as zstd of a few thousand bytes.
pub fn zstd_bomb(megabytes: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    let length = megabytes << 20;
    let (head, tail) = record(0, length);
    let mut first = varint((head.len() + length + tail.len()) as i64);
    first.extend(head);
    let mut frame = 0xfd2f_b528u32.to_le_bytes().to_vec();
    // No content size; a window of 128 KiB.
    frame.extend([0, 7 << 3]);
    let mut block = |last: bool, kind: u32, length: usize, bytes: &[u8]| {
        let header = u32::from(last) | kind << 1 | (length as u32) << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(bytes);
    };
    block(false, 0, first.len(), &first);
    for _ in 0..length / BLOCK {
        block(false, 1, BLOCK, b" ");
    }
    block(true, 0, tail.len(), &tail);
    frame
}

fn varint(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// Castagnoli's.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ 0x82f6_3b78 & (crc & 1).wrapping_neg()
        })
    })
}

/// Sends a batch to a partition; the broker's error code, and the offset that it got.
pub fn produce(stack: &Stack, topic: &str, partition: i32, batch: Vec<u8>) -> (i16, i64) {
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(batch.into()));
    let data = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.into())))
        .with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![data]);
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Produce as i16)
        .with_request_api_version(VERSION)
        .with_client_id(Some(StrBytes::from_static_str("raw")));
    let mut body = BytesMut::new();
    header.encode(&mut body, ApiKey::Produce.request_header_version(VERSION)).expect("it is valid");
    request.encode(&mut body, VERSION).expect("it is valid");
    let mut broker = TcpStream::connect(stack.bootstrap()).expect("the broker listens");
    broker.write_all(&(body.len() as u32).to_be_bytes()).expect("the broker reads");
    broker.write_all(&body).expect("the broker reads");
    let mut length = [0; 4];
    broker.read_exact(&mut length).expect("the broker answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    broker.read_exact(&mut answer).expect("the broker answers");
    let mut answer = Bytes::from(answer);
    // The correlation id.
    answer.advance(4);
    let answer = ProduceResponse::decode(&mut answer, VERSION).expect("Kafka speaks its protocol");
    let partition = &answer.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// What is done to a batch in the log of a broker that does not run.
pub enum Damage {
    /// A bit of its last record is another one.
    Bit,
    /// It has another format.
    Magic(u8),
    /// It says that its records are packed in this way; its checksum is right.
    Codec(i16),
}

/// Changes the batch of a partition that begins at an offset.
pub fn damage(stack: &Stack, topic: &str, partition: i32, offset: i64, damage: &Damage) {
    let path = segment(stack, topic, partition);
    let mut log = std::fs::read(&path).expect("the log can be read");
    let (mut at, mut done) = (0, false);
    while at + CHECKED_FROM < log.len() {
        let number = |from: usize, length: usize| {
            log[from..from + length].iter().fold(0i64, |n, byte| n << 8 | i64::from(*byte))
        };
        let (base, length) = (number(at, 8), number(at + 8, 4) as usize + 12);
        if base == offset {
            let batch = &mut log[at..at + length];
            match damage {
                Damage::Bit => batch[length - 3] ^= 1,
                Damage::Magic(magic) => batch[MAGIC_AT] = *magic,
                Damage::Codec(codec) => {
                    batch[CHECKED_FROM..CHECKED_FROM + 2].copy_from_slice(&codec.to_be_bytes());
                    let crc = crc32c(&batch[CHECKED_FROM..]).to_be_bytes();
                    batch[CHECKED_FROM - 4..CHECKED_FROM].copy_from_slice(&crc);
                }
            }
            done = true;
            break;
        }
        at += length;
    }
    assert!(done, "no batch of {topic}-{partition} begins at {offset}");
    std::fs::write(path, log).expect("the log can be written");
}

/// The only segment of a partition.
fn segment(stack: &Stack, topic: &str, partition: i32) -> PathBuf {
    let folder = stack.folder().join("kafka/data").join(format!("{topic}-{partition}"));
    let files = std::fs::read_dir(&folder).expect("the partition is there").flatten();
    let logs =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "log"));
    let logs: Vec<PathBuf> = logs.collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs[0].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_numbers_are_those_of_the_protocol() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        for (value, bytes) in
            [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-65, &[0x81, 1]), (300, &[0xd8, 4])]
        {
            assert_eq!(varint(value), bytes, "{value}");
        }
    }

    #[test]
    fn a_bomb_is_the_record_that_it_stands_for() {
        let bomb = zstd_bomb(1);
        let spaces = vec![b' '; 1 << 20];
        let unpacked = zstd::decode_all(&bomb[..]).expect("it is zstd");
        assert!(unpacked == records(&[&spaces]) && bomb.len() < 100);
    }
}
