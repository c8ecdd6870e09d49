//! The repository, as far as the rules look at it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};

/// The crates of the workspace, and every file that is tracked.
#[derive(Clone, Default)]
pub(crate) struct Repository {
    pub(crate) crates: Vec<Crate>,
    /// By path from the root, `/` between its parts; what is not UTF-8 has no text.
    pub(crate) files: BTreeMap<String, String>,
}

/// One crate of the workspace. The crates it leans on are counted with all features on.
#[derive(Clone, Default)]
pub(crate) struct Crate {
    pub(crate) name: String,
    /// From the root.
    pub(crate) folder: String,
    pub(crate) features: BTreeSet<String>,
    /// What it names in its own manifest, for any use.
    pub(crate) named: BTreeSet<String>,
    /// What comes with it: all that it and those need to build and to run, tests apart.
    pub(crate) reached: BTreeSet<String>,
}

impl Repository {
    /// Reads the repository that this test belongs to.
    pub(crate) fn read() -> Self {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the workspace");
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .features(CargoOpt::AllFeatures)
            .exec()
            .expect("cargo metadata answers");
        Self { crates: crates(&metadata), files: tracked_files(root) }
    }
}

fn crates(metadata: &Metadata) -> Vec<Crate> {
    let arrows = arrows(metadata);
    let root = &metadata.workspace_root;
    let read = |package: &cargo_metadata::Package| Crate {
        name: package.name.to_string(),
        folder: package
            .manifest_path
            .parent()
            .and_then(|folder| folder.strip_prefix(root).ok())
            .expect("a member lies below the root")
            .as_str()
            .replace('\\', "/"),
        features: package.features.keys().cloned().collect(),
        named: package.dependencies.iter().map(|dependency| dependency.name.clone()).collect(),
        reached: reached(&package.id, &arrows)
            .iter()
            .map(|id| metadata[*id].name.to_string())
            .collect(),
    };
    metadata.workspace_packages().into_iter().map(read).collect()
}

/// From each package to those it needs outside of its tests.
type Arrows<'a> = BTreeMap<&'a PackageId, Vec<&'a PackageId>>;

fn arrows(metadata: &Metadata) -> Arrows<'_> {
    let resolve = metadata.resolve.as_ref().expect("dependencies were asked for");
    let nodes = resolve.nodes.iter().map(|node| {
        let needed = node.deps.iter().filter(|dependency| {
            dependency.dep_kinds.iter().any(|use_| use_.kind != DependencyKind::Development)
        });
        (&node.id, needed.map(|dependency| &dependency.pkg).collect())
    });
    nodes.collect()
}

fn reached<'a>(from: &PackageId, arrows: &Arrows<'a>) -> BTreeSet<&'a PackageId> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&PackageId> = arrows[from].clone();
    while let Some(id) = open.pop() {
        let (&id, needed) = arrows.get_key_value(id).expect("each package has its node");
        if reached.insert(id) {
            open.extend(needed);
        }
    }
    reached
}

fn tracked_files(root: &Path) -> BTreeMap<String, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .expect("git lists the tracked files");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let file = |path: &str| {
        let on_disk: PathBuf = root.join(path);
        // One that is deleted, but not yet in a commit, is none.
        let bytes = std::fs::read(on_disk).ok()?;
        Some((path.to_owned(), String::from_utf8(bytes).unwrap_or_default()))
    };
    paths.split_terminator('\0').filter_map(file).collect()
}
