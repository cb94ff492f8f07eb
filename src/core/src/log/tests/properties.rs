//! What must never verify, over random trees.

use proptest::prelude::*;

use super::super::*;
use super::{NUMBERED, flip};

fn any_tree() -> impl Strategy<Value = (u64, u64)> {
    let size = prop_oneof![1..20u64, 1..1_000u64, 65_000..=65_537u64];
    size.prop_flat_map(|size| (Just(size), 0..size))
}

proptest! {
    #[test]
    fn a_changed_inclusion_proof_is_refused((size, index) in any_tree(), pick: usize, bit: usize) {
        let tree = &*NUMBERED;
        let root = tree_root(tree, size).unwrap();
        let leaf = tree.node(0, index).unwrap();
        let good = inclusion_proof(tree, index, size).unwrap();
        prop_assert_eq!(verify_inclusion(&good, index, size, leaf, root), Ok(()));

        if !good.is_empty() {
            let mut bad = good.clone();
            let place = pick % bad.len();
            flip(&mut bad[place], bit);
            let refused = verify_inclusion(&bad, index, size, leaf, root);
            prop_assert_eq!(refused, Err(ProofError::WrongRoot));
            let refused = verify_inclusion(&good[1..], index, size, leaf, root);
            prop_assert_eq!(refused, Err(ProofError::WrongLength));
            let refused = verify_inclusion(&good, index ^ 1, size, leaf, root);
            prop_assert!(refused.is_err());
        }
        let longer = [good.clone(), vec![leaf]].concat();
        let refused = verify_inclusion(&longer, index, size, leaf, root);
        prop_assert_eq!(refused, Err(ProofError::WrongLength));
        let (mut other_leaf, mut other_root) = (leaf, root);
        flip(&mut other_leaf, bit);
        flip(&mut other_root, bit);
        prop_assert!(verify_inclusion(&good, index, size, other_leaf, root).is_err());
        prop_assert!(verify_inclusion(&good, index, size, leaf, other_root).is_err());
        let refused = verify_inclusion(&good, size, size, leaf, root);
        prop_assert_eq!(refused, Err(ProofError::OutsideTree { index: size, size }));
    }

    #[test]
    fn a_changed_consistency_proof_is_refused((new, old) in any_tree(), pick: usize, bit: usize) {
        let tree = &*NUMBERED;
        let (old_root, new_root) = (tree_root(tree, old).unwrap(), tree_root(tree, new).unwrap());
        let good = consistency_proof(tree, old, new).unwrap();
        prop_assert_eq!(verify_consistency(&good, old, old_root, new, new_root), Ok(()));

        if !good.is_empty() {
            let mut bad = good.clone();
            let place = pick % bad.len();
            flip(&mut bad[place], bit);
            prop_assert!(verify_consistency(&bad, old, old_root, new, new_root).is_err());
            let refused = verify_consistency(&good[1..], old, old_root, new, new_root);
            prop_assert!(refused.is_err());
            let mut other_root = new_root;
            flip(&mut other_root, bit);
            let refused = verify_consistency(&good, old, old_root, new, other_root);
            prop_assert_eq!(refused, Err(ProofError::WrongRoot));
        }
        let longer = [good.clone(), vec![old_root]].concat();
        let refused = verify_consistency(&longer, old, old_root, new, new_root);
        prop_assert_eq!(refused, Err(ProofError::WrongLength));
        let mut other_root = old_root;
        flip(&mut other_root, bit);
        let refused = verify_consistency(&good, old, other_root, new, new_root);
        prop_assert!(matches!(refused, Err(ProofError::WrongOldRoot | ProofError::WrongRoot)));
        let refused = verify_consistency(&good, new + 1, old_root, new, new_root);
        prop_assert_eq!(refused, Err(ProofError::Reversed { old: new + 1, new }));
    }

    #[test]
    fn batches_grow_the_tree_that_single_entries_grow(
        batches in prop::collection::vec(1..40usize, 1..40),
        start in prop_oneof![Just(0u64), 0..600u64, 65_400..65_530u64],
    ) {
        let whole = &*NUMBERED;
        let mut edge = RightEdge::empty();
        (0..start).for_each(|index| edge.push(whole.node(0, index).unwrap()));
        for batch in batches {
            let first = edge.size();
            let end = (first + batch as u64).min(65_537);
            let leaves = (first..end).map(|index| whole.node(0, index).unwrap()).collect();
            let growth = Growth::new(&edge, leaves);
            prop_assert_eq!(growth.edge().root(), tree_root(whole, end).unwrap());
            prop_assert_eq!(growth.edge().size(), end);
            for index in first..end {
                let proof = growth.inclusion_proof(index).unwrap();
                prop_assert_eq!(proof, inclusion_proof(whole, index, end).unwrap());
            }
            // Only its own entries: those before and behind are refused.
            prop_assert!(first == 0 || growth.inclusion_proof(first - 1).is_err());
            prop_assert!(growth.inclusion_proof(end).is_err());
            (first..end).for_each(|index| edge.push(whole.node(0, index).unwrap()));
            prop_assert_eq!(growth.edge(), &edge);
        }
    }
}
