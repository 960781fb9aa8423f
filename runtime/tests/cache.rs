//! The cache of compiled kernels under many processes at once, damage, killed writers, a full disk and a folder that is none.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tilewright_runtime::cache::{DiskCache, Key};

/// Set for a worker process: its number.
const WORKER: &str = "TILEWRIGHT_TEST_CACHE_WORKER";
/// Set for a worker process: the cache's folder.
const FOLDER: &str = "TILEWRIGHT_TEST_CACHE_FOLDER";
const N_KEYS: u64 = 48;
const LIMIT_BYTES: u64 = 160 * 1024;

/// This test program again, running one test as a worker.
fn worker(test: &str, folder: &Path, number: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test program should have a path"));
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder).env(WORKER, number.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn role() -> Option<(u64, PathBuf)> {
    let number = std::env::var(WORKER).ok()?.parse().ok()?;
    Some((number, std::env::var_os(FOLDER)?.into()))
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn key(i: u64) -> Key {
    Key::of(&[b"worker", &i.to_le_bytes()])
}

fn payload(i: u64) -> Vec<u8> {
    let mut state = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..2000 + 150 * i).map(|_| next(&mut state) as u8).collect()
}

/// Reads, stores and damages entries; whatever is read must be right.
fn work(number: u64, folder: &Path) {
    let cache = DiskCache::new(folder.to_owned(), LIMIT_BYTES);
    let mut state = number * 7919 + 17;
    let (mut hits, mut damaged) = (0, 0);
    for _ in 0..300 {
        let i = next(&mut state) % N_KEYS;
        match cache.get(&key(i)) {
            Some(bytes) => {
                assert!(bytes == payload(i), "entry {i} has wrong bytes");
                hits += 1;
            }
            None => assert!(cache.put(&key(i), &payload(i)), "entry {i} should be stored"),
        }
        if next(&mut state).is_multiple_of(8) {
            let path = folder.join(key(next(&mut state) % N_KEYS).hex()).with_extension("kernel");
            // In place, as a disk or a person would damage it, also under a reader.
            if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&path) {
                damaged += usize::from(file.set_len(next(&mut state) % 2000).is_ok());
            }
        }
    }
    assert!(hits > 0 && damaged > 0, "{hits} hits and {damaged} damaged entries try nothing");
}

fn finish(child: Child) {
    let output = child.wait_with_output().expect("the worker should end");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{}:\n{text}", output.status);
}

#[test]
fn many_processes_share_one_folder() {
    if let Some((number, folder)) = role() {
        return work(number, &folder);
    }
    let base = tempfile::tempdir().expect("a temporary folder");
    let folder = base.path().join("kernels");
    let start = |number| {
        worker("many_processes_share_one_folder", &folder, number).spawn().expect("the worker should start")
    };
    let workers: Vec<Child> = (0..12).map(start).collect();
    // Some die in the middle of whatever they do.
    for number in 12..18 {
        let mut victim = start(number);
        std::thread::sleep(Duration::from_millis(10 * number as u64));
        victim.kill().expect("it should be possible to kill a worker");
        victim.wait().expect("the worker should end");
    }
    workers.into_iter().for_each(finish);

    let cache = DiskCache::new(folder, LIMIT_BYTES);
    assert!(cache.put(&key(0), &payload(0)));
    let used = cache.usage();
    assert!(used.bytes <= LIMIT_BYTES && used.entries >= 5, "{used:?}");
    for i in 0..N_KEYS {
        if let Some(bytes) = cache.get(&key(i)) {
            assert!(bytes == payload(i), "entry {i}");
        }
    }
    assert_eq!(cache.get(&key(0)), Some(payload(0)));
}

/// A limit on file sizes is how a full disk looks to one process: writes fail half way.
#[cfg(unix)]
#[test]
fn a_full_disk_costs_a_warning() {
    if let Some((_, folder)) = role() {
        let cache = DiskCache::new(folder, 1 << 20);
        let large = vec![7u8; 100_000];
        assert!(!cache.put(&key(1), &large), "the limit on file sizes should make this fail");
        assert!(!cache.put(&key(2), &large));
        assert_eq!(cache.get(&key(1)), None);
        assert!(cache.put(&key(3), b"small enough"));
        assert_eq!(cache.get(&key(3)).as_deref(), Some(&b"small enough"[..]));
        return;
    }
    let base = tempfile::tempdir().expect("a temporary folder");
    let folder = base.path().join("kernels");
    let program = worker("a_full_disk_costs_a_warning", &folder, 0);
    let mut shell = Command::new("sh");
    // Files of at most 16 blocks; the signal is ignored, so that the write returns an error as on a full disk.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"]);
    shell.arg(program.get_program()).args(program.get_args()).env(FOLDER, &folder).env(WORKER, "0");
    let output = shell.output().expect("the shell should start");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{}:\n{text}", output.status);
    let warning = format!("warning: compiled kernels are not kept in {}", folder.display());
    assert_eq!(text.matches(&warning).count(), 1, "{text}");
    let left = std::fs::read_dir(&folder).expect("the folder should be there").count();
    assert_eq!(left, 1, "no partial file is left");
}

#[test]
fn a_folder_that_cannot_be_is_no_error() {
    let base = tempfile::tempdir().expect("a temporary folder");
    let file = base.path().join("file");
    std::fs::write(&file, "not a folder").expect("writable");
    let cache = DiskCache::new(file.join("kernels"), 1 << 20);
    assert_eq!(cache.get(&key(1)), None);
    assert!(!cache.put(&key(1), b"bytes"));
    assert_eq!(cache.usage().entries, 0);
}

#[test]
fn the_folder_appears_with_the_first_entry() {
    let base = tempfile::tempdir().expect("a temporary folder");
    let cache = DiskCache::new(base.path().join("a/b/c"), 1 << 20);
    let start = Instant::now();
    assert_eq!(cache.get(&key(5)), None);
    assert!(!cache.folder().exists());
    assert!(cache.put(&key(5), &payload(5)));
    assert_eq!(cache.get(&key(5)), Some(payload(5)));
    assert!(start.elapsed() < Duration::from_secs(60), "a lock should never be waited for");
}
