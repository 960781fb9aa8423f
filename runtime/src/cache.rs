//! Compiled kernels on disk: bytes under a hash, shared by all processes of a user, bounded in size, and never trusted.
//!
//! An entry is one file that appears by rename, whole, and says its own SHA-256; what does not match is removed and counts as
//! absent. Reading makes an entry the newest, and storing removes the oldest ones over the limit. The cache is a convenience:
//! a full disk, a folder that cannot be written or a foreign file costs a compilation and one warning, never an error.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

/// The variable that names the folder of the cache.
pub const FOLDER_VARIABLE: &str = "TILEWRIGHT_CACHE_DIR";
/// The variable that gives the most that the cache holds, in MiB; 0 turns it off.
pub const LIMIT_VARIABLE: &str = "TILEWRIGHT_CACHE_MB";
/// The most that the cache holds when nobody says otherwise.
pub const DEFAULT_LIMIT_BYTES: u64 = 1 << 30;

/// First bytes of an entry; the number changes with the format.
const MAGIC: &[u8; 8] = b"twcache1";
/// Magic, checksum, length.
const HEADER_BYTES: usize = 8 + 32 + 8;
const EXTENSION: &str = "kernel";
const PARTIAL_PREFIX: &str = "partial-";
/// A partial file of this age belongs to a process that died.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Names an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a sequence of parts; where one part ends and the next begins matters.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A cache in a folder.
#[derive(Debug)]
pub struct DiskCache {
    folder: PathBuf,
    limit_bytes: u64,
    warned: AtomicBool,
}

/// How full a cache is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Number of entries.
    pub entries: usize,
    /// Their size on disk, in bytes.
    pub bytes: u64,
}

impl DiskCache {
    /// A cache in `folder` that holds at most `limit_bytes`.
    #[must_use]
    pub fn new(folder: PathBuf, limit_bytes: u64) -> Self {
        Self { folder, limit_bytes, warned: AtomicBool::new(false) }
    }

    /// The cache that the environment asks for: in `TILEWRIGHT_CACHE_DIR`, else `tilewright` under the XDG cache folder; `None`
    /// where it is turned off or there is no home folder.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let limit_mib = env::var(LIMIT_VARIABLE).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let limit = limit_mib.map_or(DEFAULT_LIMIT_BYTES, |mib| mib.saturating_mul(1 << 20));
        let folder = folder_from(|name| env::var_os(name).map(PathBuf::from))?;
        (limit > 0).then(|| Self::new(folder, limit))
    }

    /// Its folder, which exists once something was stored.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The most that it holds, in bytes.
    #[must_use]
    pub const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The bytes that were stored under a key, if they are there and intact; the entry becomes the newest.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut file = File::open(&path).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        if payload_of(&bytes).is_none() {
            // Nobody else can be in the middle of writing it: entries appear by rename.
            let _ = fs::remove_file(&path);
            return None;
        }
        // Needs no right to write but ownership. Failing only ages the entry.
        let _ = file.set_modified(SystemTime::now());
        bytes.drain(..HEADER_BYTES);
        Some(bytes)
    }

    /// Stores bytes under a key and removes the oldest entries over the limit. Returns whether they are stored; why not is a
    /// warning on standard error, once for each cache.
    pub fn put(&self, key: &Key, payload: &[u8]) -> bool {
        let size = (HEADER_BYTES + payload.len()) as u64;
        if size > self.limit_bytes {
            self.warn(&format!("an entry of {size} bytes is over the limit of {} bytes", self.limit_bytes));
            return false;
        }
        match self.write(key, payload) {
            Ok(()) => {
                self.evict(&self.path(key));
                true
            }
            Err(error) => {
                self.warn(&error.to_string());
                false
            }
        }
    }

    /// Number and size of the entries.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let entries = self.entries();
        Usage { entries: entries.len(), bytes: entries.iter().map(|entry| entry.bytes).sum() }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.hex()).with_extension(EXTENSION)
    }

    fn write(&self, key: &Key, payload: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(&self.folder)?;
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(payload))?;
        file.write_all(&(payload.len() as u64).to_le_bytes())?;
        file.write_all(payload)?;
        file.persist(self.path(key)).map_err(|e| e.error)?;
        Ok(())
    }

    /// Removes the oldest entries until the rest fits, and what dead processes left. One process at a time does it; another
    /// that finds it in hand leaves it at that.
    fn evict(&self, keep: &Path) {
        let mut entries = self.entries();
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        if total <= self.limit_bytes {
            return;
        }
        let Ok(lock) = File::create(self.folder.join("lock")) else { return };
        if lock.try_lock().is_err() {
            return;
        }
        // Room for more than the one entry, so that not every store of a full cache walks the folder to remove one.
        let target = self.limit_bytes - self.limit_bytes / 10;
        entries.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        for entry in entries.iter().filter(|entry| entry.path != keep) {
            if total <= target {
                break;
            }
            // Gone already is as good as removed.
            let _ = fs::remove_file(&entry.path);
            total -= entry.bytes;
        }
        self.remove_abandoned();
    }

    fn remove_abandoned(&self) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        for file in files.flatten() {
            let is_partial = file.file_name().to_string_lossy().starts_with(PARTIAL_PREFIX);
            let age = file.metadata().and_then(|m| m.modified()).ok().and_then(|at| at.elapsed().ok());
            if is_partial && age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let Ok(files) = fs::read_dir(&self.folder) else { return Vec::new() };
        let entry = |file: fs::DirEntry| {
            let path = file.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                return None;
            }
            let metadata = file.metadata().ok()?;
            let modified = metadata.modified().ok()?;
            metadata.is_file().then_some(Entry { path, bytes: metadata.len(), modified })
        };
        files.flatten().filter_map(entry).collect()
    }

    fn warn(&self, reason: &str) {
        if self.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        // A closed standard error must not stop the program.
        let _ = writeln!(
            io::stderr(),
            "warning: compiled kernels are not kept in {}: {reason} ({FOLDER_VARIABLE} names another folder)",
            self.folder.display()
        );
    }
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

/// The payload of an entry's file, if it is one and whole.
fn payload_of(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (checksum, rest) = rest.split_at_checked(32)?;
    let (len, payload) = rest.split_first_chunk::<8>()?;
    let intact = u64::from_le_bytes(*len) == payload.len() as u64 && Sha256::digest(payload)[..] == *checksum;
    intact.then_some(payload)
}

/// The folder by the variables of an environment. A relative XDG folder is to be ignored, says that specification.
fn folder_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let given = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
    if let Some(own) = given(FOLDER_VARIABLE) {
        return Some(own);
    }
    let xdg = given("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let windows = || if cfg!(windows) { given("LOCALAPPDATA") } else { None };
    let home = || given("HOME").map(|home| home.join(".cache"));
    xdg.or_else(windows).or_else(home).map(|base| base.join("tilewright"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(limit_bytes: u64) -> (tempfile::TempDir, DiskCache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = DiskCache::new(folder.path().join("kernels"), limit_bytes);
        (folder, cache)
    }

    #[test]
    fn the_environment_names_the_folder() {
        let with = |set: &[(&str, &str)]| {
            folder_from(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| PathBuf::from(value)))
        };
        let all = [("TILEWRIGHT_CACHE_DIR", "own"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/a")];
        assert_eq!(with(&all), Some("own".into()));
        assert_eq!(with(&all[1..]), Some("/xdg/tilewright".into()));
        assert_eq!(with(&all[2..]), Some("/home/a/.cache/tilewright".into()));
        assert_eq!(
            with(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/home/a")]),
            Some("/home/a/.cache/tilewright".into())
        );
        assert_eq!(with(&[("TILEWRIGHT_CACHE_DIR", "")]), None);
    }

    #[test]
    fn keys_keep_their_parts_apart() {
        assert_ne!(Key::of(&[b"ab", b"c"]), Key::of(&[b"a", b"bc"]));
        assert_ne!(Key::of(&[b"a"]), Key::of(&[b"a", b""]));
        // SHA-256 of eight zero bytes: the length of one empty part.
        assert_eq!(Key::of(&[b""]).hex(), "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
    }

    #[test]
    fn every_damaged_entry_is_absent_and_removed() {
        let (_folder, cache) = cache(1 << 20);
        let key = Key::of(&[b"k"]);
        let payload: Vec<u8> = (0..200u8).collect();
        assert_eq!(cache.get(&key), None);
        assert!(cache.put(&key, &payload));
        let path = cache.path(&key);
        let whole = fs::read(&path).expect("the entry should be a file");
        assert_eq!(whole.len(), HEADER_BYTES + payload.len());
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("writable");
            assert_eq!(cache.get(&key), None, "{length} bytes of {}", whole.len());
            assert!(!path.exists());
        }
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            fs::write(&path, &bytes).expect("writable");
            assert_eq!(cache.get(&key), None, "byte {place}");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).expect("writable");
        assert_eq!(cache.get(&key), None, "one byte too many");
        assert!(cache.put(&key, &payload));
        assert_eq!(cache.get(&key), Some(payload));
        assert_eq!(cache.usage(), Usage { entries: 1, bytes: whole.len() as u64 });
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let entry = (HEADER_BYTES + 100) as u64;
        let (_folder, cache) = cache(entry * 10);
        let key = |i: u8| Key::of(&[&[i]]);
        let start = SystemTime::now() - Duration::from_secs(1000);
        for i in 0..10u8 {
            assert!(cache.put(&key(i), &[i; 100]));
            // The clock of the file system may be coarse, so the order is written down.
            let file = File::options().append(true).open(cache.path(&key(i))).expect("the entry");
            file.set_modified(start + Duration::from_secs(i.into())).expect("its age can be set");
        }
        assert_eq!(cache.usage().entries, 10);
        assert_eq!(cache.get(&key(0)), Some(vec![0; 100]), "and so entry 1 is the oldest");
        assert!(cache.put(&key(10), &[10; 100]));
        let left: Vec<u8> = (0..=10).filter(|&i| cache.path(&key(i)).exists()).collect();
        assert_eq!(left, [0, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(!cache.put(&key(11), &[0; 4000]), "one entry over the whole limit is not kept");
        assert_eq!(cache.usage().entries, 9);
    }
}
