/**
 * Calls functions of the C library, which Node does not offer, through the native modules of koffi. They are optional packages
 * without install scripts, one per platform, and hold all that is used here. The package `koffi` itself has an install script,
 * which package managers refuse or warn about.
 */
import { createRequire } from 'node:module'

export interface CLibrary {
  /** A function of the C library by its declaration in C. */
  func(definition: string): (...args: unknown[]) => number | bigint
  /** The address of an array's first byte. */
  address(value: Uint8Array): bigint
}

interface NativeModule {
  load(path: null): Pick<CLibrary, 'func'>
  readonly address: CLibrary['address']
}

const require = createRequire(import.meta.url)

/** By platform and architecture. The names are literal, so that tools see which packages are used. */
const MODULES: Readonly<Record<string, () => NativeModule>> = {
  'linux-x64': () => require('@koromix/koffi-linux-x64'),
  'linux-arm64': () => require('@koromix/koffi-linux-arm64'),
  'darwin-x64': () => require('@koromix/koffi-darwin-x64'),
  'darwin-arm64': () => require('@koromix/koffi-darwin-arm64'),
}

let known: CLibrary | null | undefined

/** The C library of this process; undefined on other platforms, other runtimes, and without the optional package. */
export function cLibrary(): CLibrary | undefined {
  if (known === undefined) {
    try {
      known = isNode() ? load() : null
    } catch {
      known = null
    }
  }
  return known ?? undefined
}

/** Other runtimes also name a Node version. They place memories elsewhere, and do not restart with Node's flags. */
const isNode = (): boolean => process.versions.bun === undefined && process.versions.deno === undefined

function load(): CLibrary | null {
  const native = MODULES[`${process.platform}-${process.arch}`]?.()
  if (native === undefined) return null
  const library = native.load(null)
  return { func: (definition) => library.func(definition), address: (value) => native.address(value) }
}
