//! The fake disk keeps and loses what a disk may, and nothing else.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, IoSlice},
    path::Path,
    sync::Arc,
};

use minikafka_storage::filesystem::disk::{Disk, DiskFile, OpenMode};

use super::{Class, Errno, FakeDisk, Fault, Image, Lies, NameOrder, PowerLoss, Rng, Survivors, Unwritten};

const SEEDS: u64 = 200;

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn create(disk: &FakeDisk, name: &str) -> Arc<dyn DiskFile> {
    disk.open(path(name), OpenMode::Create).unwrap()
}

fn write(file: &dyn DiskFile, bytes: &[u8], position: u64) -> io::Result<usize> {
    file.write_at(&[IoSlice::new(bytes)], position)
}

/// A file with this content, durable with its name.
fn durable(disk: &FakeDisk, name: &str, content: &[u8]) -> Arc<dyn DiskFile> {
    let file = create(disk, name);
    assert_eq!(write(&*file, content, 0).unwrap(), content.len());
    file.sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    file
}

fn survivors(seed: u64, unwritten: Unwritten, names: NameOrder) -> PowerLoss {
    PowerLoss::Some(Survivors { seed, sector_len: 512, unwritten, names })
}

/// What may be left of a file, over many seeds.
fn outcomes(disk: &FakeDisk, name: &str, unwritten: Unwritten) -> BTreeSet<Option<Vec<u8>>> {
    let image = |seed| disk.image_after(&survivors(seed, unwritten, NameOrder::AsMade));
    (0..SEEDS).map(|seed| image(seed).file(path(name)).map(<[u8]>::to_vec)).collect()
}

#[test]
fn bytes_are_durable_after_their_sync() {
    let disk = FakeDisk::new();
    let file = durable(&disk, "/f", b"synced");
    write(&*file, b"UNSYNC", 0).unwrap();
    write(&*file, b"more", 6).unwrap();
    assert_eq!(disk.live_image().file(path("/f")).unwrap(), b"UNSYNCmore");
    assert_eq!(disk.image_after(&PowerLoss::NothingUnsynced).file(path("/f")).unwrap(), b"synced");
    file.sync().unwrap();
    assert_eq!(disk.image_after(&PowerLoss::NothingUnsynced).file(path("/f")).unwrap(), b"UNSYNCmore");
}

#[test]
fn out_of_files_what_is_open_works_and_nothing_else_can_be_opened() {
    let disk = FakeDisk::new();
    let file = durable(&disk, "/f", b"content");
    disk.run_out_of_files();
    write(&*file, b"CONTENT", 0).unwrap();
    file.sync().unwrap();
    let opened = [OpenMode::Existing, OpenMode::Create].map(|mode| disk.open(path("/f"), mode).map(drop));
    for outcome in opened.into_iter().chain([disk.sync_dir(path("/")), disk.list(path("/")).map(drop)]) {
        assert_eq!(outcome.unwrap_err().raw_os_error(), Errno::Emfile.error().raw_os_error());
    }
    disk.remove_file(path("/f")).unwrap();
    disk.heal();
    disk.sync_dir(path("/")).unwrap();
}

#[test]
fn a_name_is_durable_after_the_sync_of_its_directory() {
    let disk = FakeDisk::new();
    disk.create_dir(path("/d")).unwrap();
    let file = create(&disk, "/d/f");
    write(&*file, b"x", 0).unwrap();
    file.sync().unwrap();
    let lost = |disk: &FakeDisk| disk.image_after(&PowerLoss::NothingUnsynced);
    disk.sync_dir(path("/d")).unwrap();
    assert_eq!(lost(&disk), Image::default(), "the directory itself has no durable name");
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(lost(&disk).file(path("/d/f")).unwrap(), b"x");
    disk.remove_file(path("/d/f")).unwrap();
    assert_eq!(lost(&disk).files().count(), 1, "its absence is not durable");
    disk.sync_dir(path("/d")).unwrap();
    assert_eq!(lost(&disk).files().count(), 0);
}

#[test]
fn everything_below_a_directory_is_durable_after_a_sync_of_all() {
    let disk = FakeDisk::new();
    for dir in ["/d", "/d/below", "/other"] {
        disk.create_dir(path(dir)).unwrap();
    }
    disk.sync_dir(path("/")).unwrap();
    for file in ["/d/f", "/d/below/f", "/other/f"] {
        write(&*create(&disk, file), b"x", 0).unwrap();
    }
    disk.sync_all(path("/d")).unwrap();
    let image = disk.image_after(&PowerLoss::NothingUnsynced);
    assert_eq!(image.files().collect::<Vec<_>>(), [path("/d/below/f"), path("/d/f")]);
    assert!(image.files().all(|file| image.file(file).unwrap() == b"x"));
    assert!(disk.sync_all(path("/missing")).is_err());
}

#[test]
fn a_disk_may_write_less_than_it_is_given() {
    let disk = FakeDisk::new();
    disk.write_short(3);
    let file = create(&disk, "/f");
    assert_eq!(file.write_at(&[IoSlice::new(b"ab"), IoSlice::new(b"cdef")], 0).unwrap(), 3);
    assert_eq!(file.len().unwrap(), 3);
}

#[test]
fn a_rename_is_atomic() {
    for order in [NameOrder::AsMade, NameOrder::Any] {
        let disk = FakeDisk::new();
        durable(&disk, "/f", b"old");
        durable(&disk, "/f.new", b"new");
        disk.rename(path("/f.new"), path("/f")).unwrap();
        let mut found = BTreeSet::new();
        for seed in 0..SEEDS {
            let image = disk.image_after(&survivors(seed, Unwritten::Zeros, order));
            found.insert((
                image.file(path("/f")).unwrap().to_vec(),
                image.file(path("/f.new")).map(<[u8]>::to_vec),
            ));
        }
        let expected = [(b"new".to_vec(), None), (b"old".to_vec(), Some(b"new".to_vec()))];
        assert_eq!(found, BTreeSet::from(expected));
    }
}

#[test]
fn names_change_in_order_or_in_any() {
    let disk = FakeDisk::new();
    for name in ["/a", "/b"] {
        create(&disk, name);
    }
    let found = |order| -> BTreeSet<Vec<String>> {
        let names = |image: Image| image.files().map(|path| path.display().to_string()).collect();
        (0..SEEDS).map(|seed| names(disk.image_after(&survivors(seed, Unwritten::Zeros, order)))).collect()
    };
    let sets =
        |sets: &[&[&str]]| sets.iter().map(|set| set.iter().map(|s| (*s).to_owned()).collect()).collect();
    assert_eq!(found(NameOrder::AsMade), sets(&[&[], &["/a"], &["/a", "/b"]]));
    assert_eq!(found(NameOrder::Any), sets(&[&[], &["/a"], &["/b"], &["/a", "/b"]]));
}

#[test]
fn a_write_is_torn_and_reordered_by_the_sector() {
    let disk = FakeDisk::new();
    let file = durable(&disk, "/f", &[b'.'; 1024]);
    write(&*file, &[b'a'; 1024], 0).unwrap();
    write(&*file, &[b'b'; 512], 512).unwrap();
    let found = outcomes(&disk, "/f", Unwritten::Zeros);
    let mut expected = BTreeSet::new();
    for (first, second) in
        [(b'.', b'.'), (b'.', b'a'), (b'.', b'b'), (b'a', b'.'), (b'a', b'a'), (b'a', b'b')]
    {
        expected.insert(Some([[first; 512], [second; 512]].concat()));
    }
    assert_eq!(found, expected);
}

#[test]
fn a_longer_file_may_hold_zeros_or_what_others_left() {
    let disk = FakeDisk::new();
    durable(&disk, "/gone", &[b'g'; 2048]);
    let file = durable(&disk, "/f", b"");
    disk.remove_file(path("/gone")).unwrap();
    write(&*file, &[b'a'; 512], 0).unwrap();
    let held = |unwritten| outcomes(&disk, "/f", unwritten).into_iter().flatten().collect::<BTreeSet<_>>();
    assert_eq!(held(Unwritten::Zeros), BTreeSet::from([vec![], vec![0; 512], vec![b'a'; 512]]));
    assert_eq!(held(Unwritten::Stale), BTreeSet::from([vec![], vec![b'g'; 512], vec![b'a'; 512]]));
}

/// Whatever is done to a file, each sector of what is left is as it was at some moment since the last sync.
#[test]
fn every_sector_is_a_snapshot() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed);
        let disk = FakeDisk::new();
        let file = durable(&disk, "/f", &[1; 700]);
        let mut moments = vec![disk.live_image()];
        for step in 2..10u8 {
            match rng.below(5) {
                0 => file.set_len(rng.below(2000)).unwrap(),
                1 => {
                    file.sync().unwrap();
                    moments.clear();
                }
                _ => {
                    let bytes = vec![step; rng.between(1, 900) as usize];
                    assert_eq!(write(&*file, &bytes, rng.below(1500)).unwrap(), bytes.len());
                }
            }
            moments.push(disk.live_image());
        }
        let image = disk.image_after(&survivors(rng.next(), Unwritten::Zeros, NameOrder::AsMade));
        let left = image.file(path("/f")).unwrap();
        let moments: Vec<&[u8]> = moments.iter().map(|moment| moment.file(path("/f")).unwrap()).collect();
        assert!(
            moments.iter().any(|moment| moment.len() == left.len()),
            "seed {seed}: length {}",
            left.len()
        );
        for (number, sector) in left.chunks(512).enumerate() {
            let was = |moment: &&[u8]| {
                let at = |index: usize| moment.get(number * 512 + index).copied().unwrap_or(0);
                sector.iter().enumerate().all(|(index, byte)| *byte == at(index))
            };
            assert!(moments.iter().any(was), "seed {seed}: sector {number}");
        }
    }
}

#[test]
fn a_failed_sync_forgets_what_was_unsynced_and_shows_it_all_the_same() {
    let mut kept = BTreeSet::new();
    for changes_before in 0..20 {
        let disk = FakeDisk::new();
        for number in 0..changes_before {
            durable(&disk, &format!("/{number}"), b"");
        }
        let file = durable(&disk, "/f", b"old");
        write(&*file, b"new", 0).unwrap();
        disk.fail(Fault { class: Class::Change, after: 0, count: 1, errno: Errno::Eio });
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
        file.sync().unwrap();
        assert_eq!(disk.live_image().file(path("/f")).unwrap(), b"new");
        let image = disk.image_after(&PowerLoss::NothingUnsynced);
        kept.insert(image.file(path("/f")).unwrap().to_vec());
        assert_eq!(disk.retried_syncs(), [path("/f")], "somebody tried again");
        // A page that is written again goes to the platter whole.
        write(&*file, b"N", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(disk.image_after(&PowerLoss::NothingUnsynced).file(path("/f")).unwrap(), b"New");
    }
    assert!(kept.contains(&b"old"[..]), "a second sync brought back what the first had lost");
}

#[test]
fn a_failed_sync_may_show_what_is_on_the_platter() {
    for changes_before in 0..20 {
        let disk = FakeDisk::new();
        for number in 0..changes_before {
            durable(&disk, &format!("/{number}"), b"");
        }
        let file = durable(&disk, "/f", b"old");
        disk.revert_failed_syncs();
        write(&*file, b"newer", 0).unwrap();
        disk.fail(Fault { class: Class::Change, after: 0, count: 1, errno: Errno::Eio });
        file.sync().unwrap_err();
        let live = disk.live_image().file(path("/f")).unwrap().to_vec();
        // The length is not lost.
        assert!([&b"old\0\0"[..], b"newer"].contains(&&live[..]), "{live:?}");
        file.sync().unwrap();
        assert_eq!(disk.image_after(&PowerLoss::NothingUnsynced).file(path("/f")).unwrap(), live);
    }
}

#[test]
fn after_the_last_change_nothing_works() {
    for changes in 0..3 {
        let disk = FakeDisk::new();
        let file = durable(&disk, "/f", b"");
        disk.stop_after(changes);
        let outcomes: Vec<bool> = (0..4).map(|_| file.sync().is_ok()).collect();
        assert_eq!(outcomes, [0 < changes, 1 < changes, 2 < changes, false]);
        assert!(disk.is_stopped() && file.len().is_err() && disk.list(path("/")).is_err());
        assert!(!disk.is_dir(path("/")) && disk.create_dir(path("/d")).is_err());
    }
}

#[test]
fn the_last_write_may_be_done_in_part() {
    let mut found = BTreeSet::new();
    for files in 0..40 {
        let mut image = Image::default();
        (0..files).for_each(|number| image.insert(path(&format!("/{number}")), Some(Vec::new())));
        // What is on the disk decides how much of the last write is done.
        let disk = FakeDisk::with(&image);
        let file = durable(&disk, "/f", b"");
        disk.stop_after(0);
        write(&*file, b"abc", 0).unwrap_err();
        found.insert(disk.live_image().file(path("/f")).unwrap().len());
        assert_eq!(disk.image_after(&PowerLoss::NothingUnsynced).file(path("/f")).unwrap(), b"");
    }
    assert!(found.contains(&0) && found.contains(&3) && found.len() > 2, "{found:?}");
}

#[test]
fn the_chosen_operation_fails_and_the_next_one_works() {
    let disk = FakeDisk::new();
    let file = durable(&disk, "/f", b"old");
    for (class, after) in [(Class::Change, 1), (Class::Look, 1)] {
        disk.fail(Fault { class, after, count: 1, errno: Errno::Enospc });
        let outcomes: Vec<Option<i32>> = (0..3)
            .map(|_| match class {
                Class::Change => disk.sync_dir(path("/")).err(),
                Class::Look => file.len().err(),
            })
            .map(|error| error.and_then(|error| error.raw_os_error()))
            .collect();
        assert_eq!(outcomes, [None, Some(28), None]);
    }
    disk.heal();
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites_in_place() {
    let disk = FakeDisk::new();
    let file = durable(&disk, "/f", &[1; 4096]);
    disk.set_capacity(3 * 4096);
    let other = create(&disk, "/g");
    assert_eq!(write(&*other, &[2; 20_000], 0).unwrap(), 8192, "a short write");
    assert_eq!(disk.free_bytes(), 0);
    assert_eq!(write(&*other, &[2; 10], 8192).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(write(&*file, &[3; 4096], 0).unwrap(), 4096);
    assert_eq!(disk.create_dir(path("/d")).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.remove_file(path("/g")).unwrap();
    assert_eq!(disk.free_bytes(), 0, "somebody has it open");
    drop(other);
    assert_eq!(disk.space(path("/")).unwrap().available_bytes, 8192);
    file.set_len(100).unwrap();
    assert_eq!(disk.free_bytes(), 8192, "a part of a page is a page");
}

#[test]
fn a_held_sync_holds_nobody_else() {
    let disk = FakeDisk::new();
    let file = durable(&disk, "/f", b"old");
    write(&*file, b"new", 0).unwrap();
    disk.hold_syncs();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync());
        disk.wait_for_held_sync();
        write(&*file, b"late", 10).unwrap();
        let mut bytes = [0; 3];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 3);
        assert_eq!(&bytes, b"new");
        assert_eq!(disk.image_after(&PowerLoss::NothingUnsynced).file(path("/f")).unwrap(), b"old");
        disk.release_syncs();
        sync.join().unwrap().unwrap();
    });
    let image = disk.image_after(&PowerLoss::NothingUnsynced);
    assert_eq!(image.file(path("/f")).unwrap(), b"new", "what was written meanwhile is not synced");
    disk.hold_syncs();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync());
        disk.wait_for_held_sync();
        disk.stop();
        sync.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_lying_disk_syncs_nothing() {
    let disk = FakeDisk::new();
    disk.lie(Lies::Sync(|path| path.ends_with("f")));
    durable(&disk, "/f", b"x");
    durable(&disk, "/g", b"x");
    let image = disk.image_after(&PowerLoss::NothingUnsynced);
    assert_eq!((image.file(path("/f")), image.file(path("/g"))), (Some(&b""[..]), Some(&b"x"[..])));
    disk.lie(Lies::SyncDir(|_| true));
    durable(&disk, "/h", b"x");
    assert_eq!(disk.image_after(&PowerLoss::NothingUnsynced).file(path("/h")), None);
}

#[test]
fn a_lock_is_held_until_its_guard_goes() {
    let disk = FakeDisk::new();
    let guard = disk.lock(path("/lock")).unwrap();
    assert!(guard.is_some() && disk.lock(path("/lock")).unwrap().is_none());
    assert!(disk.lock(path("/lock")).unwrap().is_none(), "who did not get it does not give it back");
    drop(guard);
    assert!(disk.lock(path("/lock")).unwrap().is_some());
}

#[test]
fn torn_images_end_at_every_byte() {
    let disk = FakeDisk::new();
    let (first, second) = (durable(&disk, "/f", b""), durable(&disk, "/g", b"."));
    write(&*first, b"ab", 0).unwrap();
    write(&*second, b"c", 1).unwrap();
    write(&*first, b"d", 2).unwrap();
    let content = |image: &Image, name| String::from_utf8(image.file(path(name)).unwrap().to_vec()).unwrap();
    let found: Vec<(String, String)> =
        disk.torn_images().iter().map(|image| (content(image, "/f"), content(image, "/g"))).collect();
    let expected = [("", "."), ("a", "."), ("ab", "."), ("ab", ".c"), ("abd", ".c")];
    assert_eq!(found, expected.map(|(f, g)| (f.to_owned(), g.to_owned())));
}

#[test]
fn a_disk_is_what_its_image_was() {
    let disk = FakeDisk::new();
    disk.create_dir(path("/d")).unwrap();
    durable(&disk, "/d/f", b"x");
    create(&disk, "/empty");
    let image = disk.live_image();
    let copy = FakeDisk::with(&image);
    assert_eq!(copy.live_image(), image);
    assert_eq!(copy.image_after(&PowerLoss::NothingUnsynced), image);
    copy.remove_dir_all(path("/d")).unwrap();
    assert_eq!(copy.list(path("/")).unwrap(), [path("/empty")]);
    assert_eq!(copy.open(path("/d/f"), OpenMode::Existing).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(copy.rename(path("/d"), path("/e")).unwrap_err().kind(), ErrorKind::NotFound);
}
