//! What a store of blobs promises.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use danqing_services::storage::blobs::{BlobError, BlobId, BlobStore, FolderBlobs};

fn folder() -> (tempfile::TempDir, FolderBlobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FolderBlobs::open(folder.path().join("blobs")).unwrap();
    (folder, blobs)
}

#[test]
fn a_name_is_the_sha_256_and_nothing_else_is_a_name() {
    // FIPS 180-2, appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(BlobId::of(b"abc").to_string(), abc);
    assert_eq!(abc.parse::<BlobId>().unwrap(), BlobId::of(b"abc"));
    for wrong in [
        "",
        "abc",
        "../../etc/passwd",
        &abc.to_uppercase(),
        &format!("{abc}0"),
        &abc.replace('b', "é"),
        &abc.replace("ba", "/."),
    ] {
        assert!(matches!(wrong.parse::<BlobId>(), Err(BlobError::Name(_))), "{wrong}");
    }
}

#[tokio::test]
async fn what_is_put_comes_back_until_it_is_deleted() {
    let (_folder, blobs) = folder();
    let mut all = Vec::new();
    for bytes in [Vec::new(), b"one".to_vec(), vec![7; 3 << 20]] {
        let id = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(id, BlobId::of(&bytes));
        assert_eq!(blobs.put(bytes.clone()).await.unwrap(), id);
        assert_eq!(blobs.get(id).await.unwrap(), bytes);
        all.push(id);
    }
    let mut listed: Vec<BlobId> = blobs.list().await.unwrap().into_iter().map(|(id, _)| id).collect();
    listed.sort();
    all.sort();
    assert_eq!(listed, all);
    for id in all {
        blobs.delete(id).await.unwrap();
        blobs.delete(id).await.unwrap();
        assert!(matches!(blobs.get(id).await, Err(BlobError::Missing(_))));
    }
    assert!(blobs.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_put_the_same_at_once() {
    let (_folder, blobs) = folder();
    let puts = (0..16).map(|i| {
        let blobs = blobs.clone();
        tokio::spawn(async move { blobs.put(vec![i % 2; 100_000]).await.unwrap() })
    });
    for put in puts.collect::<Vec<_>>() {
        let id = put.await.unwrap();
        assert_eq!(blobs.get(id).await.unwrap().len(), 100_000);
    }
    assert_eq!(blobs.list().await.unwrap().len(), 2);
}

#[tokio::test]
async fn damage_is_found_and_a_shortened_file_is_put_anew() {
    let (folder, blobs) = folder();
    let id = blobs.put(b"a picture".to_vec()).await.unwrap();
    let name = id.to_string();
    let file = folder.path().join("blobs").join(&name[..2]).join(&name);
    fs::write(&file, b"a Picture").unwrap();
    assert!(matches!(blobs.get(id).await, Err(BlobError::Damaged(_))));
    fs::write(&file, b"a pic").unwrap();
    blobs.put(b"a picture".to_vec()).await.unwrap();
    assert_eq!(blobs.get(id).await.unwrap(), b"a picture");
}

#[tokio::test]
async fn a_put_makes_a_blob_young_again() {
    let (folder, blobs) = folder();
    let id = blobs.put(b"old".to_vec()).await.unwrap();
    let name = id.to_string();
    let file = folder.path().join("blobs").join(&name[..2]).join(&name);
    let old = SystemTime::now() - Duration::from_secs(100_000);
    File::options().append(true).open(&file).unwrap().set_modified(old).unwrap();
    let before = blobs.list().await.unwrap()[0].1;
    blobs.put(b"old".to_vec()).await.unwrap();
    let after = blobs.list().await.unwrap()[0].1;
    assert!(after - before > 90_000_000, "{before} {after}");
}

#[test]
fn leavings_of_killed_programs_are_cleared_away_after_a_day() {
    let folder = tempfile::tempdir().unwrap();
    FolderBlobs::open(folder.path()).unwrap();
    let (old, young) = (folder.path().join("unfinished/old"), folder.path().join("unfinished/young"));
    for file in [&old, &young] {
        fs::write(file, b"half").unwrap();
    }
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 3600);
    File::options().append(true).open(&old).unwrap().set_modified(yesterday).unwrap();
    FolderBlobs::open(folder.path()).unwrap();
    assert!(!old.exists() && young.exists());
}

#[test]
fn a_folder_that_cannot_be_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(FolderBlobs::open(&file), Err(BlobError::Store { .. })));
}
