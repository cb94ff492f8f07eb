//! Names and bytes of tiles.

use proptest::prelude::*;

use super::super::tile::*;
use super::super::{Hash, leaf_hash};

#[test]
fn paths_are_those_of_the_specification() {
    let path = |level, index, width| TileId::new(level, index, width).unwrap().path();
    assert_eq!(path(0, 0, 256), "tile/0/000");
    assert_eq!(path(1, 1_234_067, 256), "tile/1/x001/x234/067");
    assert_eq!(path(0, 1234, 5), "tile/0/x001/234.p/5");
    assert_eq!(BundleId::new(1234, 5).unwrap().path(), "tile/entries/x001/234.p/5");
    assert_eq!(BundleId::new(7, 256).unwrap().path(), "tile/entries/007");
    assert_eq!(BundleId::new(1234, 5).unwrap().partials(), "tile/entries/x001/234.p");
    assert_eq!(TileId::new(2, 1234, 256).unwrap().partials(), "tile/2/x001/234.p");
}

#[test]
fn a_tree_of_70000_has_the_tiles_the_specification_counts() {
    let width = |level, index| TileId::in_tree(level, index, 70_000).map(|id| id.width());
    assert_eq!(width(0, 272), Some(256));
    assert_eq!(width(0, 273), Some(112));
    assert_eq!(width(0, 274), None);
    assert_eq!((width(1, 0), width(1, 1), width(1, 2)), (Some(256), Some(17), None));
    assert_eq!((width(2, 0), width(2, 1), width(3, 0)), (Some(1), None, None));
    assert_eq!(TileId::in_tree(8, 0, u64::MAX), None);
    assert_eq!(BundleId::in_tree(273, 70_000).map(|id| id.width()), Some(112));
}

#[test]
fn only_the_one_way_to_write_a_path_is_read() {
    for good in ["tile/0/000", "tile/63/x001/234.p/255", "tile/0/x018/x446/x744/x073/x709/x551/615"]
    {
        assert_eq!(good.parse::<TileId>().map(|id| id.path()), Ok(good.to_owned()));
    }
    for bad in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/000.p",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/05",
        "tile/0/000.p/+5",
        "tile/+0/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/../000",
        "tile/0/000.p/5/6",
        "tile/0/0a0",
        "Tile/0/000",
        "tile/entries/000",
        "tile/8/0/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert_eq!(bad.parse::<TileId>(), Err(TileError::Path(bad.to_owned())));
    }
    assert!("tile/entries/000.p/7".parse::<BundleId>().is_ok());
    for bad in ["tile/0/000", "tile/entries/000.p/256", "tile/entries/x000/000", "tile/entries/"] {
        assert_eq!(bad.parse::<BundleId>(), Err(TileError::Path(bad.to_owned())));
    }
    assert!(TileId::new(63, 0, 1).is_ok());
    assert_eq!(TileId::new(64, 0, 1), Err(TileError::Coordinates));
    assert_eq!(TileId::new(0, 0, 0), Err(TileError::Coordinates));
    assert_eq!(TileId::new(0, 0, 257), Err(TileError::Coordinates));
    assert_eq!(BundleId::new(0, 0), Err(TileError::Coordinates));
}

#[test]
fn a_tile_holds_exactly_its_width_in_hashes() {
    let hashes = [leaf_hash(b"a"), leaf_hash(b"b")];
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash: &Hash| hash.0).collect();
    assert_eq!(parse_tile(&bytes, 2), Ok(hashes.to_vec()));
    assert!(parse_tile(&bytes, 1).is_err());
    assert!(parse_tile(&bytes, 3).is_err());
    assert!(parse_tile(&bytes[1..], 2).is_err());
}

#[test]
fn a_bundle_is_length_prefixed_and_nothing_more() {
    let mut bundle = Vec::new();
    push_entry(&mut bundle, b"ab").unwrap();
    push_entry(&mut bundle, b"").unwrap();
    assert_eq!(bundle, [0, 2, b'a', b'b', 0, 0]);
    assert_eq!(parse_bundle(&bundle, 2), Ok(vec![&b"ab"[..], b""]));
    assert_eq!(parse_bundle(&bundle, 1), Err(TileError::BundleWidth { width: 1, entries: 2 }));
    assert_eq!(parse_bundle(&bundle, 3), Err(TileError::BundleWidth { width: 3, entries: 2 }));
    assert_eq!(parse_bundle(&bundle[..5], 2), Err(TileError::BundleCut));
    assert_eq!(parse_bundle(&bundle[..3], 1), Err(TileError::BundleCut));
}

#[test]
fn the_longest_entry_fits_and_one_byte_more_does_not() {
    let mut bundle = Vec::new();
    push_entry(&mut bundle, &vec![1; MAX_ENTRY]).unwrap();
    assert_eq!(parse_bundle(&bundle, 1).unwrap()[0].len(), MAX_ENTRY);
    let before = bundle.clone();
    let refused = push_entry(&mut bundle, &vec![1; MAX_ENTRY + 1]);
    assert_eq!(refused, Err(TileError::EntryTooLong(MAX_ENTRY + 1)));
    assert_eq!(bundle, before);
}

proptest! {
    #[test]
    fn every_tile_has_one_path(level in 0..=63u8, index: u64, width in 1..=256u16) {
        let tile = TileId::new(level, index, width).unwrap();
        prop_assert_eq!(tile.path().parse(), Ok(tile));
        let bundle = BundleId::new(index, width).unwrap();
        prop_assert_eq!(bundle.path().parse(), Ok(bundle));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in ".{0,60}", bytes: Vec<u8>) {
        let _ = text.parse::<TileId>();
        let _ = text.parse::<BundleId>();
        let _ = text.parse::<super::super::VerifierKey>();
        let _ = text.parse::<super::super::Checkpoint>();
        let _ = super::super::Note::parse(&bytes);
        let _ = split_entries(&bytes);
    }
}
