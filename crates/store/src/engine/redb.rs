//! Keeps commits in one redb file.
//!
//! Three tables: the objects, the log of recent commits, and a few numbers. Each value carries a checksum of its own,
//! so damage that the file system lets through is found at the start and never served.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Engine, EngineError, Loaded, Record, Stored};
use crate::{Key, Revision};

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const REVISION: &str = "revision";
const FLOOR: &str = "floor";

/// Reads go to memory, so the file needs next to no page cache.
const CACHE_BYTES: usize = 2 << 20;

/// One file. Held exclusively while open.
pub struct Redb {
    path: PathBuf,
    database: Option<Database>,
}

impl Redb {
    /// Opens or makes the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, EngineError> {
        let path = path.into();
        let database = open(&path)?;
        Ok(Self { path, database: Some(database) })
    }

    fn database(&self) -> Result<&Database, EngineError> {
        self.database.as_ref().ok_or_else(|| EngineError::Damaged {
            path: self.path.display().to_string(),
            what: "it could not be opened again after an error".into(),
        })
    }

    fn failed<E>(&self, operation: &'static str) -> impl Fn(E) -> EngineError + use<E>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let path = self.path.display().to_string();
        move |source| EngineError::Database { operation, path: path.clone(), source: Box::new(source) }
    }

    fn damaged(&self, what: impl Into<String>) -> EngineError {
        EngineError::Damaged { path: self.path.display().to_string(), what: what.into() }
    }

    fn read_objects(&self, transaction: &redb::ReadTransaction) -> Result<Vec<(Key, Stored)>, EngineError> {
        let table = transaction.open_table(OBJECTS).map_err(self.failed("read"))?;
        let mut objects = Vec::new();
        for row in table.iter().map_err(self.failed("read"))? {
            let (key, value) = row.map_err(self.failed("read"))?;
            let stored = Decoder::checked(value.value()).and_then(|mut decoder| decoder.stored());
            let Some((key, stored)) = Key::parse(key.value()).zip(stored) else {
                return Err(self.damaged(format!("object {:?} has a wrong checksum", key.value())));
            };
            objects.push((key, stored));
        }
        Ok(objects)
    }

    fn read_log(&self, transaction: &redb::ReadTransaction) -> Result<Vec<Record>, EngineError> {
        let table = transaction.open_table(LOG).map_err(self.failed("read"))?;
        let mut log = Vec::new();
        for row in table.iter().map_err(self.failed("read"))? {
            let (revision, value) = row.map_err(self.failed("read"))?;
            let revision = Revision(revision.value());
            let record = Decoder::checked(value.value()).and_then(|decoder| decoder.record(revision));
            log.push(record.ok_or_else(|| self.damaged(format!("commit {revision} has a wrong checksum")))?);
        }
        Ok(log)
    }

    fn read_number(&self, transaction: &redb::ReadTransaction, name: &str) -> Result<u64, EngineError> {
        let table = transaction.open_table(NUMBERS).map_err(self.failed("read"))?;
        let number = table.get(name).map_err(self.failed("read"))?;
        Ok(number.map_or(0, |number| number.value()))
    }

    fn write(&self, records: &[Record], floor: Revision) -> Result<(), redb::Error> {
        let Ok(database) = self.database() else {
            return Err(redb::Error::PreviousIo);
        };
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            let mut log = transaction.open_table(LOG)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            for record in records {
                match &record.new {
                    Ok(stored) => objects.insert(record.key.as_str(), &*encode_object(stored))?,
                    Err(_) => objects.remove(record.key.as_str())?,
                };
                log.insert(record.revision.0, &*encode_record(record))?;
            }
            log.retain_in(..=floor.0, |_, _| false)?;
            if let Some(last) = records.last() {
                numbers.insert(REVISION, last.revision.0)?;
            }
            numbers.insert(FLOOR, floor.0)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, EngineError> {
    let failed = |source: redb::Error| EngineError::Database {
        operation: "open",
        path: path.display().to_string(),
        source: Box::new(source),
    };
    let database =
        Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|error| failed(error.into()))?;
    make_tables(&database).map_err(failed)?;
    Ok(database)
}

fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(LOG)?;
    transaction.open_table(NUMBERS)?;
    transaction.commit()?;
    Ok(())
}

impl Engine for Redb {
    fn load(&mut self) -> Result<Loaded, EngineError> {
        let transaction = self.database()?.begin_read().map_err(self.failed("read"))?;
        Ok(Loaded {
            revision: Revision(self.read_number(&transaction, REVISION)?),
            floor: Revision(self.read_number(&transaction, FLOOR)?),
            objects: self.read_objects(&transaction)?,
            log: self.read_log(&transaction)?,
        })
    }

    fn commit(&mut self, records: &[Record], floor: Revision) -> Result<(), EngineError> {
        self.write(records, floor).map_err(self.failed("commit to"))
    }

    fn recover(&mut self) -> Result<Revision, EngineError> {
        // An I/O error poisons the handle: only a new one tells what reached the disk.
        self.database = None;
        self.database = Some(open(&self.path)?);
        let transaction = self.database()?.begin_read().map_err(self.failed("read"))?;
        Ok(Revision(self.read_number(&transaction, REVISION)?))
    }
}

fn encode_object(stored: &Stored) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stored.json.len() + 24);
    encode_stored(&mut bytes, stored);
    seal(bytes)
}

fn encode_record(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    let key = record.key.as_str().as_bytes();
    put_length(&mut bytes, key.len());
    bytes.extend_from_slice(key);
    bytes.push(u8::from(record.new.is_ok()) | u8::from(record.old.is_some()) << 1);
    let (Ok(new) | Err(new)) = &record.new;
    encode_stored(&mut bytes, new);
    if let Some(old) = &record.old {
        encode_stored(&mut bytes, old);
    }
    seal(bytes)
}

fn encode_stored(bytes: &mut Vec<u8>, stored: &Stored) {
    bytes.extend_from_slice(&stored.revision.0.to_le_bytes());
    put_length(bytes, stored.version_at);
    put_length(bytes, stored.json.len());
    bytes.extend_from_slice(&stored.json);
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("an object is smaller than 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
}

/// Appends the checksum.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads what `encode_*` wrote. `None` where it is damaged.
struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn checked(bytes: &'a [u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<4>()?;
        (crc32fast::hash(content) == u32::from_le_bytes(*checksum)).then_some(Self(content))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn length(&mut self) -> Option<usize> {
        let bytes: [u8; 4] = self.take(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn stored(&mut self) -> Option<Stored> {
        let revision = Revision(u64::from_le_bytes(self.take(8)?.try_into().ok()?));
        let version_at = self.length()?;
        let length = self.length()?;
        Some(Stored { revision, json: Bytes::copy_from_slice(self.take(length)?), version_at })
    }

    fn record(mut self, revision: Revision) -> Option<Record> {
        let length = self.length()?;
        let key = Key::parse(std::str::from_utf8(self.take(length)?).ok()?)?;
        let flags = *self.take(1)?.first()?;
        let new = self.stored()?;
        let old = if flags & 2 != 0 { Some(self.stored()?) } else { None };
        Some(Record { revision, key, old, new: if flags & 1 != 0 { Ok(new) } else { Err(new) } })
    }
}
