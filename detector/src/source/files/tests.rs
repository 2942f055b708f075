//! Files of each form, whole, cut off, grown and resumed.

use super::*;
use std::io::Write;

fn all(lines: &mut Lines) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    while let Some(batch) = lines.next_batch(3).unwrap() {
        for (i, (start, end, _)) in batch.lines.iter().enumerate() {
            let text = String::from_utf8_lossy(&batch.bytes[*start..*end]).into_owned();
            if !text.is_empty() {
                out.push((batch.first_line + i as u64, text));
            }
        }
    }
    out
}

#[test]
fn plain_gzip_and_zstd_give_the_same_lines_and_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..100).map(|i| format!("line {i}\r\n")).collect();
    let plain = dir.path().join("a");
    std::fs::write(&plain, &text).unwrap();
    let gz = dir.path().join("b");
    let mut e = flate2::write::GzEncoder::new(File::create(&gz).unwrap(), Default::default());
    e.write_all(text.as_bytes()).unwrap();
    e.finish().unwrap();
    let zst = dir.path().join("c");
    std::fs::write(&zst, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    for path in [&plain, &gz, &zst] {
        let want = all(&mut Lines::open(path).unwrap());
        assert_eq!(want.len(), 100);
        assert_eq!(want[41], (42, "line 41".into()));
        let mut first = Lines::open(path).unwrap();
        let place = first.next_batch(37).unwrap().unwrap().end;
        let identity = Lines::identify(path).unwrap();
        let mut resumed = Lines::open_at(path, place, Some(&identity)).unwrap();
        assert_eq!(all(&mut resumed), want[37..]);
    }
    let other = dir.path().join("d");
    std::fs::write(&other, text.replace("line 3", "line X")).unwrap();
    let mut first = Lines::open(&plain).unwrap();
    let place = first.next_batch(37).unwrap().unwrap().end;
    let refused = Lines::open_at(&other, place, Some(&Lines::identify(&plain).unwrap()));
    assert!(matches!(refused, Err(SourceError::OtherFile { .. })));
}

fn file(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn a_file_of_any_form_is_resumed_where_it_was_left() {
    let text: String = (0..50).map(|i| format!("{{\"n\":{i}}}\n")).collect();
    let array = format!("[{}]", text.trim_end().replace('\n', ",\n"));
    let csv: String =
        std::iter::once("n,m\n".into()).chain((0..50).map(|i| format!("{i},x\n"))).collect();
    let marked = [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat();
    let forms =
        [text.as_bytes(), &marked, array.as_bytes(), csv.as_bytes(), text.trim_end().as_bytes()];
    for bytes in forms {
        let (_folder, path) = file(bytes);
        let want = all(&mut Lines::open(&path).unwrap());
        assert_eq!(want.len(), 50);
        let identity = Lines::identify(&path).unwrap();
        for lines_max in [1, 37, 50] {
            let mut first = Lines::open(&path).unwrap();
            let place = first.next_batch(lines_max).unwrap().unwrap().end;
            let mut resumed = Lines::open_at(&path, place, Some(&identity)).unwrap();
            let rest = want.iter().filter(|(line, _)| *line > place.line).cloned();
            assert_eq!(all(&mut resumed), rest.collect::<Vec<_>>(), "behind {lines_max}");
        }
    }
}

#[test]
fn a_file_that_shrank_is_refused_in_every_form() {
    let text: String = (0..500).map(|i| format!("{{\"n\":{i}}}\n")).collect();
    let (_folder, path) = file(text.as_bytes());
    let mut lines = Lines::open(&path).unwrap();
    let place = lines.next_batch(400).unwrap().unwrap().end;
    let (_other, head) = file(&text.as_bytes()[..100]);
    let identity = Lines::identify(&head).unwrap();
    for length in [100, place.offset as usize - 1] {
        let cut = &text.as_bytes()[..length];
        for bytes in [cut.to_vec(), zstd::encode_all(cut, 1).unwrap()] {
            std::fs::write(&path, bytes).unwrap();
            let refused = Lines::open_at(&path, place, Some(&identity)).err().unwrap();
            assert!(matches!(refused, SourceError::Shrunk { .. }), "{length}: {refused}");
        }
    }
    std::fs::write(&path, &text.as_bytes()[..place.offset as usize]).unwrap();
    assert!(all(&mut Lines::open_at(&path, place, Some(&identity)).unwrap()).is_empty());
}

#[test]
fn a_last_line_without_its_end_is_read_once_it_is_whole() {
    let whole = "{\"n\":0}\n{\"n\":1}\r\n{\"n\":2}\n";
    let want = all(&mut Lines::from_reader("memory", Box::new(io::Cursor::new(whole))));
    for length in 1..=whole.len() {
        let (_folder, path) = file(&whole.as_bytes()[..length]);
        let mut lines = Lines::open(&path).unwrap().leaving_unfinished();
        let (mut place, mut read) = (Place::default(), Vec::new());
        while let Some(batch) = lines.next_batch(2).unwrap() {
            place = batch.end;
            for (i, (start, end, _)) in batch.lines.iter().enumerate() {
                let text = String::from_utf8_lossy(&batch.bytes[*start..*end]).into_owned();
                read.push((batch.first_line + i as u64, text));
            }
        }
        let left = length as u64 - place.offset;
        assert_eq!(lines.unfinished().load(Ordering::Relaxed), left, "{length}");
        std::fs::write(&path, whole).unwrap();
        let rest = Lines::open_at(&path, place, None).unwrap().leaving_unfinished();
        read.extend(all(&mut { rest }));
        assert_eq!(read, want, "cut at {length}");
    }
}

#[test]
fn a_line_beyond_the_cap_is_cut_but_its_length_is_known() {
    let long = "x".repeat(10 << 20);
    let text = format!("a\n{long}\nb");
    let mut lines = Lines::from_reader("memory", Box::new(io::Cursor::new(text)));
    let batch = lines.next_batch(10).unwrap().unwrap();
    assert_eq!(batch.lines.len(), 3);
    assert_eq!(batch.lines[1].2, 10 << 20);
    assert_eq!(batch.sha256(1), <[u8; 32]>::from(Sha256::digest(&long)));
    assert_eq!(batch.sha256(2), <[u8; 32]>::from(Sha256::digest(b"b")));
    assert!(batch.bytes.len() < 2 << 20);
    assert_eq!(&batch.bytes[batch.lines[2].0..batch.lines[2].1], b"b");
}

#[test]
fn many_long_lines_make_small_batches() {
    let text = format!("{}\r\n", "y".repeat(900_000)).repeat(20);
    let mut lines = Lines::from_reader("memory", Box::new(io::Cursor::new(text)));
    let mut seen = 0;
    while let Some(batch) = lines.next_batch(512).unwrap() {
        assert!(batch.bytes.len() < BATCH_BYTES_MAX + MESSAGE_BYTES_MAX + 2);
        assert!(batch.lines.iter().all(|l| l.2 == 900_000));
        seen += batch.lines.len();
    }
    assert_eq!(seen, 20);
}

#[test]
fn a_folder_an_absent_file_and_a_broken_archive_are_clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let error = |r: Result<Lines, SourceError>| r.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error(Lines::open(dir.path())).contains("folder"));
    assert!(error(Lines::open(&dir.path().join("none"))).contains("cannot open"));
    let text: String = (0..100_000).map(|i| format!("line {i}\n")).collect();
    let mut e = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    e.write_all(text.as_bytes()).unwrap();
    let mut bytes = e.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    let cut = dir.path().join("cut.gz");
    std::fs::write(&cut, bytes).unwrap();
    let mut lines = Lines::open(&cut).unwrap();
    let mut seen = 0;
    let broken = loop {
        match lines.next_batch(1000) {
            Ok(Some(batch)) => seen += batch.lines.len(),
            Ok(None) => break None,
            Err(e) => break Some(e.to_string()),
        }
    };
    assert!(seen > 10_000);
    assert!(broken.unwrap().contains("cannot be read beyond line"));
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    assert!(Lines::open(&empty).unwrap().next_batch(10).unwrap().is_none());
}
