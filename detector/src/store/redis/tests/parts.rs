//! Encodings, and where to start from.

use super::super::names::Name;
use super::super::protocol::{Header, Offsets, Position, Refusal, Start, Tag, decide};
use super::super::record::{Damage, Record, crc};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(offset: i64) -> Offsets {
    Offsets::from([("t/0".to_owned(), offset)])
}

fn header(readable: &[(u32, u32, i64)]) -> Header {
    let text = |o| {
        serde_json::to_string(&Position { offsets: at(o), detail: String::new() }).expect("JSON")
    };
    let readable = readable
        .iter()
        .map(|&(epoch, n, o)| (Tag { epoch, n }, text(o)))
        .collect::<BTreeMap<_, _>>();
    Header { epoch: 9, readable, ..Header::default() }
}

#[test]
fn where_to_start_from() {
    let start = at(5);
    let decide = |headers: &[Header], o: Option<i64>| {
        decide(headers, &o.map(at).unwrap_or_default(), &start)
    };
    let none = header(&[]);
    let from = |epoch, n, o| {
        let position = Position { offsets: at(o), detail: String::new() };
        Ok(Start::From { base: Tag { epoch, n }, position })
    };
    // Nothing there: a new start only if nothing was put out.
    assert_eq!(decide(&[none.clone(), none.clone()], None), Ok(Start::New));
    assert_eq!(decide(&[none.clone(), none.clone()], Some(5)), Ok(Start::New));
    assert_eq!(decide(&[none.clone(), none.clone()], Some(6)), Err(Refusal::Empty));
    // A first checkpoint, half and whole.
    let first = header(&[(0, 1, 5)]);
    assert_eq!(decide(&[first.clone(), none.clone()], None), Ok(Start::New));
    assert_eq!(decide(&[first.clone(), first.clone()], None), from(0, 1, 5));
    assert_eq!(decide(&[first.clone(), first.clone()], Some(7)), from(0, 1, 5));
    assert!(matches!(
        decide(&[first, none.clone()], Some(7)),
        Err(Refusal::NothingInCommon { shard: 1, .. })
    ));
    // The newest common one.
    let ahead = header(&[(1, 1, 6), (1, 2, 7)]);
    let behind = header(&[(0, 1, 5), (1, 1, 6)]);
    assert_eq!(decide(&[ahead.clone(), behind.clone()], Some(8)), from(1, 1, 6));
    assert_eq!(decide(&[behind, ahead.clone()], Some(6)), from(1, 1, 6));
    assert_eq!(decide(std::slice::from_ref(&ahead), Some(7)), from(1, 2, 7));
    assert!(matches!(
        decide(std::slice::from_ref(&ahead), Some(6)),
        Err(Refusal::AheadOfOutputs { state: 7, outputs: 6, .. })
    ));
    assert!(matches!(decide(std::slice::from_ref(&ahead), None), Err(Refusal::NoOutputs { .. })));
    // A later one that took nothing; or of which it cannot be told, since its offset no longer exists.
    assert_eq!(decide(&[header(&[(1, 1, 5)])], None), from(1, 1, 5));
    assert!(matches!(decide(&[header(&[(1, 1, 4)])], None), Err(Refusal::NoOutputs { .. })));
    assert!(matches!(
        decide(&[ahead.clone(), none], Some(8)),
        Err(Refusal::NothingInCommon { .. })
    ));
    // Shards that disagree.
    let other = header(&[(1, 2, 8)]);
    assert!(matches!(decide(&[ahead, other], Some(9)), Err(Refusal::Torn { .. })));
}

#[test]
fn fields_of_a_header() {
    let fields = [
        ("epoch", "3"),
        ("owner", "ab"),
        ("seq", "7"),
        ("r:2.9", "{}"),
        ("shards", "1"),
        ("format", "2"),
        ("records", "12"),
    ];
    let header = Header::from_fields(fields).expect("a header");
    assert_eq!((header.epoch, header.seq, header.owner.as_str()), (3, 7, "ab"));
    assert_eq!((header.format, header.records), (2, 12));
    assert_eq!(header.readable, BTreeMap::from([(Tag { epoch: 2, n: 9 }, "{}".to_owned())]));
    assert_eq!(Header::from_fields([("epoch", "x")]), None);
}

#[test]
fn a_position_is_checked_with_its_checkpoint() {
    let tag = Tag { epoch: 1, n: 2 };
    let position = Position { offsets: at(17), detail: "{\"features\":\"ab\"}".to_owned() };
    let text = position.marker(tag).expect("JSON");
    assert_eq!(Position::from_marker(tag, &text), Ok(position.clone()));
    for (other, text) in [
        (Tag { epoch: 1, n: 3 }, text.clone()),
        (tag, text.replace("17", "27")),
        (tag, text.replace("t/0", "t/1")),
        (tag, text.replace("ab", "ac")),
    ] {
        let why = Position::from_marker(other, &text).expect_err("something changed");
        assert!(why.contains("CRC-32C"), "{why}");
    }
    // As format 2 has it.
    let old = serde_json::to_string(&position).expect("JSON");
    assert_eq!(Position::from_marker(tag, &old), Ok(position));
    assert!(Position::from_marker(tag, &text[..text.len() - 1]).is_err());
}

fn account() -> Name {
    Name::profile("account", "a1")
}

/// A record's next version, with its CRC.
fn put<'a>(old: &Record<'a>, base: Tag, tag: Tag, value: Option<&'a [u8]>) -> Option<Record<'a>> {
    old.put(base, tag, value, crc(&account(), tag, value))
}

const OLD: Tag = Tag { epoch: 1, n: 2 };
const NEW: Tag = Tag { epoch: 3, n: 4 };

#[test]
fn the_envelope_to_the_byte() {
    let mut new = Record::default();
    new.block = 0x0102;
    let old = put(&new, Tag::default(), OLD, Some(b"ab")).expect("it exists").to_bytes();
    assert_eq!(old[..16], [3, 1, 2, 1, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]);
    // CRC-32C of "p", "account", "a1", each with 0xff behind it, then of bytes 4 to 15 and the value.
    let text = [&b"p\xffaccount\xffa1\xff"[..], &old[4..16], b"ab"].concat();
    assert_eq!(old[16..20], crc32c::crc32c(&text).to_le_bytes());
    assert_eq!(old[20..], *b"ab");
    let old = Record::read(&old, &account()).expect("an envelope");
    let gone = put(&old, OLD, NEW, None).expect("it existed");
    let bytes = gone.to_bytes();
    assert_eq!(bytes[..16], [3, 2, 2, 1, 3, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(bytes[20..], old.to_bytes()[4..]);
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn names_that_look_alike_have_different_crcs() {
    let names = [
        Name::profile("a", "b:c"),
        Name::profile("a:b", "c"),
        Name::profile("ab", "c"),
        Name::profile("a", "bc"),
        Name::profile("g", "a"),
        Name::global("a"),
        Name::global("a:b"),
    ];
    for (i, name) in names.iter().enumerate() {
        for other in &names[i + 1..] {
            assert_ne!(name.crc32c(), other.crc32c(), "{name:?} {other:?}");
        }
    }
}

#[test]
fn an_envelope_says_what_is_wrong_with_it() {
    let one = put(&Record::default(), Tag::default(), OLD, Some(b"value")).expect("it exists");
    let one_bytes = one.to_bytes();
    let two = put(&one, OLD, NEW, Some(b"other")).expect("it exists").to_bytes();
    let changed = |at: usize, to: u8| {
        let mut bytes = two.clone();
        bytes[at] = to;
        bytes
    };
    // Head of 4, then two versions of 16 + 5.
    let swapped = [&two[..4], &two[25..], &two[4..25]].concat();
    let crossed = [&two[..20], &two[41..], &two[25..41], &two[20..25]].concat();
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("nothing", Vec::new(), "no envelope"),
        ("an unknown format", changed(0, 4), "no envelope"),
        ("format 2 in front of format 3", changed(0, 2), "envelope"),
        ("no version", changed(1, 0), "no envelope"),
        ("a version less", changed(1, 1), "21 bytes follow"),
        ("a version more", [&[3, 2][..], &one_bytes[2..]].concat(), "within version 2 of 2"),
        ("the mark of no CRC", changed(1, 130), "CRC-32C of version 1.2"),
        ("an epoch", changed(4, 5), "CRC-32C of version 5.4"),
        ("a number", changed(29, 1), "CRC-32C of version 1.1"),
        ("a length", changed(12, 4), "CRC-32C of version 3.4"),
        ("a length of 4 GB", changed(15, 127), "within version 1 of 2"),
        ("a value", changed(43, 0), "CRC-32C of version 1.2"),
        ("versions in the wrong order", swapped, "version 3.4 follows version 1.2"),
        ("values of the other version", crossed, "CRC-32C of version 3.4"),
    ];
    for (what, bytes, says) in cases {
        let damage = Record::read(&bytes, &account()).expect_err(what);
        assert!(damage.to_string().contains(says), "{what}: {damage}");
    }
    for name in [Name::profile("account", "a2"), Name::profile("phone", "a1"), Name::global("a1")] {
        let damage = Record::read(&two, &name).expect_err("another record's");
        assert!(matches!(damage, Damage::Crc { tag: NEW, .. }), "{damage}");
    }
}

#[test]
fn format_2_is_read_and_becomes_format_3() {
    let name = account();
    let version = |tag: Tag, value: &[u8]| {
        let words = [tag.epoch, tag.n, value.len() as u32];
        [&words.map(u32::to_le_bytes).concat()[..], value].concat()
    };
    let two = [vec![2, 2, 7, 0], version(NEW, b"new"), version(OLD, b"old")].concat();
    let record = Record::read(&two, &name).expect("an envelope");
    assert_eq!(record.block, 7);
    let versions: Vec<_> = record.versions().collect();
    assert_eq!(versions, [(NEW, Some(&b"new"[..])), (OLD, Some(&b"old"[..]))]);

    // The version that is kept has no CRC, and says so.
    let newest = Tag { epoch: 5, n: 1 };
    let bytes = put(&record, NEW, newest, Some(b"newest")).expect("it exists").to_bytes();
    assert_eq!(bytes[..4], [3, 130, 7, 0]);
    let mixed = Record::read(&bytes, &name).expect("an envelope");
    let versions: Vec<_> = mixed.versions().collect();
    assert_eq!(versions, [(newest, Some(&b"newest"[..])), (NEW, Some(&b"new"[..]))]);
    assert_eq!(mixed.to_bytes(), bytes);
    let alone = mixed.tidy(NEW).expect("it exists").to_bytes();
    assert_eq!(alone[..4], [3, 129, 7, 0]);
    assert_eq!(Record::read(&alone, &name).expect("an envelope").to_bytes(), alone);
    // With the next one, it is gone.
    let bytes = put(&mixed, newest, Tag { epoch: 5, n: 2 }, None).expect("it existed").to_bytes();
    assert_eq!(bytes[..4], [3, 2, 7, 0]);
    assert!(Record::read(&bytes, &name).is_ok());
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))
}

proptest! {
    #[test]
    fn an_envelope_gives_back_what_was_put_in(values in proptest::collection::vec((value(), any::<bool>()), 1..12)) {
        // Attempts one after another, each over the last one that was completed: what is at the base stays readable.
        let name = account();
        let mut bytes: Option<Vec<u8>> = None;
        let mut base = Tag::FIRST;
        let mut at_base = None;
        for (n, (value, completed)) in (1..).zip(values) {
            let tag = Tag { epoch: 1, n };
            let stored = bytes.clone().unwrap_or_default();
            let old = Record::read(&stored, &name).unwrap_or_default();
            let new = put(&old, base, tag, value.as_deref()).map(|r| r.to_bytes());
            let stored = new.clone().unwrap_or_default();
            let read = Record::read(&stored, &name).unwrap_or_default();
            let at = |tag| read.at(tag).and_then(|(_, v)| v.map(<[u8]>::to_vec));
            prop_assert_eq!(at(base), at_base.clone());
            prop_assert_eq!(at(tag), value.clone());
            let tidied = read.tidy(base).map(|r| r.to_bytes()).unwrap_or_default();
            let tidied = Record::read(&tidied, &name).unwrap_or_default();
            prop_assert!(tidied.versions().count() < 2, "an older value is left");
            prop_assert_eq!(tidied.at(tag).and_then(|(_, v)| v.map(<[u8]>::to_vec)), at_base.clone());
            bytes = new;
            if completed {
                (base, at_base) = (tag, value);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_envelope(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), format in 0u8..5, count in 0u8..4) {
        // Some that get further than the first byte.
        for (byte, to) in bytes.iter_mut().zip([format, count]) {
            *byte = to;
        }
        if let Ok(record) = Record::read(&bytes, &account()) {
            prop_assert_eq!(format, 2);
            prop_assert_eq!(record.versions().count(), usize::from(count));
        }
    }

    #[test]
    fn a_changed_or_cut_envelope_is_refused_or_says_the_same(
        values in (value(), value()), at in 0usize..80, to in any::<u8>(), cut in 0usize..80,
    ) {
        let name = account();
        let one = put(&Record::default(), Tag::default(), OLD, Some(values.0.as_deref().unwrap_or_default()));
        let one = one.expect("it exists");
        let two = put(&one, OLD, NEW, values.1.as_deref()).expect("it existed").to_bytes();
        for whole in [one.to_bytes(), two] {
            let right = Record::read(&whole, &name).expect("an envelope");
            let mut changed = whole.clone();
            let at = at % whole.len();
            changed[at] = to;
            // The block's number is no part of what is checked: a wrong one is seen in the index.
            match Record::read(&changed, &name) {
                Ok(read) => {
                    prop_assert!(read.versions().eq(right.versions()));
                }
                Err(_) => {
                    prop_assert!(changed != whole);
                }
            }
            prop_assert!(Record::read(&whole[..cut % whole.len()], &name).is_err());
        }
    }
}
