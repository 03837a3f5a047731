//! Networks that containers are on: their rows. What there is of them on this machine is made and
//! taken away by whoever runs containers.

use crate::db::Durability;
use crate::db::networks::{self as table, NetworkRow};
use crate::error::{Error, Result};
use crate::store::Store;

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNetwork {
    /// 64 hexadecimal digits.
    pub id: String,
    /// A name that no other network has.
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Whatever else is known of it.
    pub record: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
}

impl From<NetworkRow> for StoredNetwork {
    fn from(row: NetworkRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            driver: row.driver,
            record: row.record,
            created: row.created,
        }
    }
}

impl Store {
    /// Adds a network.
    ///
    /// # Errors
    /// [`Error::NetworkName`] when there is one of the name.
    pub async fn add_network(&self, new: &StoredNetwork) -> Result<()> {
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        if let Some(other) = table::called(&mut tx, &new.name).await?
            && other.name == new.name
        {
            return Err(Error::NetworkName(new.name.clone()));
        }
        let row = NetworkRow {
            id: new.id.clone(),
            name: new.name.clone(),
            driver: new.driver.clone(),
            record: new.record.clone(),
            created: new.created,
        };
        table::insert(&mut tx, &row).await?;
        Ok(tx.commit().await?)
    }

    /// All networks, by their names.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn networks(&self) -> Result<Vec<StoredNetwork>> {
        let rows = table::all(&mut *self.0.db.lock().await).await?;
        Ok(rows.into_iter().map(StoredNetwork::from).collect())
    }

    /// A network by its ID, its name, or the beginning of its ID, in this order.
    ///
    /// # Errors
    /// [`Error::NoSuchNetwork`], [`Error::AmbiguousNetwork`].
    pub async fn find_network(&self, text: &str) -> Result<StoredNetwork> {
        let mut db = self.0.db.lock().await;
        if let Some(row) = table::called(&mut db, text).await? {
            return Ok(row.into());
        }
        let is_id = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        let mut rows = match is_id {
            true => table::beginning(&mut db, text).await?,
            false => Vec::new(),
        };
        match (rows.pop(), rows.len()) {
            (Some(row), 0) => Ok(row.into()),
            (Some(_), others) => Err(Error::AmbiguousNetwork {
                text: text.to_owned(),
                matches: others + 1,
            }),
            (None, _) => Err(Error::NoSuchNetwork(text.to_owned())),
        }
    }

    /// Removes a network's row; one that is gone is no error.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_network(&self, id: &str) -> Result<()> {
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        table::delete(&mut tx, id).await?;
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(id: char, name: &str) -> StoredNetwork {
        StoredNetwork {
            id: id.to_string().repeat(64),
            name: name.to_owned(),
            driver: "bridge".to_owned(),
            record: "{}".to_owned(),
            created: 1,
        }
    }

    #[tokio::test]
    async fn three_are_there_and_others_are_found_by_id_name_and_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let names = async || {
            let all = store.networks().await.unwrap();
            all.into_iter().map(|n| n.name).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["bridge", "host", "none"]);
        let bridge = store.find_network("bridge").await.unwrap();
        assert_eq!((bridge.id.len(), bridge.driver.as_str()), (64, "bridge"));
        let (web, db) = (new('a', "web"), new('b', "a"));
        store.add_network(&web).await.unwrap();
        store.add_network(&db).await.unwrap();
        assert_eq!(names().await, ["a", "bridge", "host", "none", "web"]);
        for (text, found) in [("web", &web), (&*web.id, &web), ("a", &db), ("bbbbb", &db)] {
            assert_eq!(&store.find_network(text).await.unwrap(), found, "{text}");
        }
        let error = store.add_network(&new('c', "web")).await.unwrap_err();
        assert_eq!(error.to_string(), "network with name web already exists");
        let error = store.find_network("nope").await.unwrap_err();
        assert_eq!(error.to_string(), "network nope not found");
        store.remove_network(&web.id).await.unwrap();
        store.remove_network(&web.id).await.unwrap();
        assert!(store.find_network("web").await.is_err());
    }
}
