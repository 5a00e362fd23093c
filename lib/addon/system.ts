// What of this machine decides whether a prebuilt addon can run on it, and a sentence for each that cannot. Knows no package
// and no addon.

import { existsSync } from 'node:fs'

export interface System {
  platform: NodeJS.Platform
  arch: NodeJS.Architecture
  /** Node's version, such as `20.17.0`. */
  node: string
  /** Version of the C library, such as `2.36`; undefined where it is another one than glibc. */
  readonly glibc: string | undefined
  hasNvidiaDriver: boolean
}

/** What a prebuilt addon, or lopt itself, asks for. */
export interface Needs {
  /** As in package.json's `engines`: `>=20.17`. */
  node?: string | undefined
  /** Such as `2.28`. */
  glibc?: string | undefined
}

/** Linux alone has more than one C library, and NVIDIA's driver. */
export function thisSystem(): System {
  const { platform, arch, versions } = process
  const isLinux = platform === 'linux'
  let glibc: { version: string | undefined } | undefined
  return {
    platform,
    arch,
    node: versions.node,
    // tens of milliseconds, which only a package asks for
    get glibc() {
      glibc ??= { version: isLinux ? glibcVersion() : undefined }
      return glibc.version
    },
    // the second: Windows' driver inside its Linux subsystem
    hasNvidiaDriver: isLinux && ['/dev/nvidiactl', '/dev/dxg'].some(existsSync),
  }
}

/** Why an addon that needs this cannot run here, and what to do; undefined when it can. */
export function unfit(system: System, needs: Needs): string | undefined {
  const node = needs.node?.replace('>=', '')
  if (node !== undefined && isOlder(system.node, node)) {
    return `Node ${system.node} is too old: install Node ${node} or newer`
  }
  if (system.platform !== 'linux' || needs.glibc === undefined) return undefined
  if (system.glibc === undefined) {
    return (
      'this Linux has no glibc, and libtorch is built for glibc alone (Alpine has musl): use an image of Debian or Ubuntu, ' +
      'such as node:24-bookworm-slim'
    )
  }
  if (isOlder(system.glibc, needs.glibc)) {
    return `glibc ${system.glibc} is too old: ${needs.glibc} or newer is needed, which Debian 10, Ubuntu 20.04 and RHEL 8 have`
  }
  return undefined
}

/** Compares numbers between dots, as many as both have. */
export function isOlder(version: string, minimum: string): boolean {
  const own = version.split('.').map(Number)
  for (const [i, part] of minimum.split('.').map(Number).entries()) {
    const other = own[i] ?? 0
    if (other !== part) return other < part
  }
  return false
}

function glibcVersion(): string | undefined {
  // of Node 20.13, and not in its types of Node 20
  const report = process.report as typeof process.report & { excludeNetwork: boolean }
  const before = report.excludeNetwork
  // names of hosts are looked up otherwise
  report.excludeNetwork = true
  try {
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
    return header?.glibcVersionRuntime
  } finally {
    report.excludeNetwork = before
  }
}
