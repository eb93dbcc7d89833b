#!/usr/bin/env bash
# Packs two builds and the client into a release: an archive for each architecture, the client's npm package, checksums and
# notes. It publishes nothing: the workflow Release does.
#
#   scripts/release.sh <tag> <build for x86_64> <build for arm64> <client's tarball> <new folder>
#
# The tag is v and the version in Cargo.toml, and CHANGELOG.md has a section for it. The builds are folders that
# scripts/build.sh --release <tag> --sbom wrote. An unpacked archive is such a folder again, for deploy.sh --artifacts. The
# client's tarball comes from scripts/lib/client_package.py pack <tag>.

# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

case ${1:-} in
  -h | --help) usage && exit ;;
esac
[ $# = 5 ] || die "a release takes a tag, two builds, the client's tarball and a new folder: see --help"
need_python
exec python3 "$ROOT/scripts/lib/release.py" "$@"
