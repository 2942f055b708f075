//! Encodings, and where to start from.

use super::super::protocol::{Header, Offsets, Position, Refusal, Start, Tag, decide};
use super::super::record::Record;
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
fn the_envelope_to_the_byte() {
    let mut new = Record::default();
    new.block = 0x0102;
    let old = new.put(Tag::default(), Tag { epoch: 1, n: 2 }, Some(b"ab"));
    let old = old.expect("it exists").to_bytes();
    assert_eq!(old, [2, 1, 2, 1, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, b'a', b'b']);
    let old = Record::read(&old).expect("an envelope");
    let gone = old.put(Tag { epoch: 1, n: 2 }, Tag { epoch: 3, n: 4 }, None).expect("it existed");
    let bytes = gone.to_bytes();
    assert_eq!(bytes[..16], [2, 2, 2, 1, 3, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(bytes[16..], old.to_bytes()[4..]);
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))
}

proptest! {
    #[test]
    fn an_envelope_gives_back_what_was_put_in(values in proptest::collection::vec((value(), any::<bool>()), 1..12)) {
        // Attempts one after another, each over the last one that was completed: what is at the base stays readable.
        let mut bytes: Option<Vec<u8>> = None;
        let mut base = Tag::FIRST;
        let mut at_base = None;
        for (n, (value, completed)) in (1..).zip(values) {
            let tag = Tag { epoch: 1, n };
            let stored = bytes.clone().unwrap_or_default();
            let old = Record::read(&stored).unwrap_or_default();
            let new = old.put(base, tag, value.as_deref()).map(|r| r.to_bytes());
            let stored = new.clone().unwrap_or_default();
            let read = Record::read(&stored).unwrap_or_default();
            let at = |tag| read.at(tag).and_then(|(_, v)| v.map(<[u8]>::to_vec));
            prop_assert_eq!(at(base), at_base.clone());
            prop_assert_eq!(at(tag), value.clone());
            let tidied = read.tidy(base).map(|r| r.to_bytes()).unwrap_or_default();
            let tidied = Record::read(&tidied).unwrap_or_default();
            prop_assert!(tidied.versions().count() < 2, "an older value is left");
            prop_assert_eq!(tidied.at(tag).and_then(|(_, v)| v.map(<[u8]>::to_vec)), at_base.clone());
            bytes = new;
            if completed {
                (base, at_base) = (tag, value);
            }
        }
    }

    #[test]
    fn damaged_envelopes_are_refused_not_read(bytes in proptest::collection::vec(any::<u8>(), 0..64), cut in 0usize..40) {
        if let Some(record) = Record::read(&bytes) {
            prop_assert_eq!(record.to_bytes(), bytes);
        }
        let whole = Record::default().put(Tag::FIRST, Tag { epoch: 1, n: 1 }, Some(&[7; 20])).expect("exists").to_bytes();
        prop_assert!(cut >= whole.len() || Record::read(&whole[..cut]).is_none());
    }
}
