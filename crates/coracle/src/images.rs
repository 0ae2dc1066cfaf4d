//! `coracle image`: the images of this node, or of every node of a dev cluster.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use image::{Config, ImageService, Images, Registries};

use crate::dev::state;

#[derive(Subcommand)]
pub enum Command {
    /// Take in every image of an archive (of docker save, or an OCI layout in a tar file)
    Import {
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// List images
    Ls {
        #[command(flatten)]
        place: Place,
    },
    /// Forget images, by name or id
    Rm {
        #[arg(required = true)]
        images: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Fetch an image from its registry
    Pull {
        image: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
pub struct Place {
    /// Every node of this dev cluster, instead of this node
    #[arg(long)]
    name: Option<String>,
    #[arg(long, default_value = crate::agent::DATA_DIR)]
    data_dir: PathBuf,
    #[arg(long, default_value = crate::agent::REGISTRIES)]
    registries: PathBuf,
}

impl Place {
    fn open(&self) -> anyhow::Result<Images> {
        let content = match &self.name {
            Some(name) => state::Cluster::open(name)?.images(),
            None => crate::agent::content_dir(&self.data_dir),
        };
        let registries = Registries::read(&self.registries).map_err(anyhow::Error::msg)?;
        // Commands mount nothing; the directory is the agent's.
        let snapshots = self.data_dir.join("snapshots");
        Images::open(Config { snapshots, registries, content: content.clone() })
            .with_context(|| format!("open the images in {}", content.display()))
    }
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Import { file, place } => {
            let names = place.open()?.import(&file).await.with_context(|| format!("import {}", file.display()))?;
            names.iter().for_each(|name| println!("Imported {name}"));
        }
        Command::Ls { place } => list(&place.open()?).await?,
        Command::Rm { images, place } => {
            let store = place.open()?;
            for image in images {
                store.remove(&image).await?;
                println!("Removed {image}");
            }
        }
        Command::Pull { image, place } => {
            let pulled = place.open()?.pull_anew(&image).await?;
            println!("Pulled {image} ({})", pulled.id);
        }
    }
    Ok(())
}

async fn list(images: &Images) -> anyhow::Result<()> {
    let mut rows = vec![("IMAGE".to_owned(), "IMAGE ID".to_owned(), "SIZE".to_owned())];
    for image in images.list().await? {
        let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
        let mut names = image.repo_tags;
        if names.is_empty() {
            names.extend(image.repo_digests.into_iter().next().or_else(|| Some("<none>".into())));
        }
        rows.extend(names.into_iter().map(|name| (name, id.clone(), size(image.size))));
    }
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    for (name, id, size) in rows {
        println!("{name:<width$}   {id:<12}   {size}");
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 1.0 { format!("{:.1}kB", megabytes * 1000.0) } else { format!("{megabytes:.1}MB") }
}
