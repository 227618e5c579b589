/**
 * The parts of the WebAssembly interface that terge uses. TypeScript declares them only in the DOM library, and a
 * global declaration here would conflict in projects that import terge's types.
 */

export const WebAssembly = (globalThis as unknown as { readonly WebAssembly: Api }).WebAssembly

export declare namespace WebAssembly {
  /** Compiled code. It can be posted to a worker. */
  interface Module {
    readonly [Symbol.toStringTag]: 'WebAssembly.Module'
  }
  interface Memory {
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  interface Instance {
    readonly exports: Record<string, unknown>
  }
}

interface Api {
  readonly Module: new (bytes: Uint8Array) => WebAssembly.Module
  readonly Memory: new (descriptor: { initial: number; maximum?: number; shared?: boolean }) => WebAssembly.Memory
  readonly Instance: new (
    module: WebAssembly.Module,
    imports?: Record<string, Record<string, unknown>>,
  ) => WebAssembly.Instance
  compile(bytes: Uint8Array): Promise<WebAssembly.Module>
}

/** Bytes of a memory, up to the next multiple of 64: what vectors and caches like. */
export const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64
