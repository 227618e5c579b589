/**
 * The parts of the WebAssembly interface that terge uses. TypeScript declares them only together with a browser's, and a global
 * declaration of our own would get into the way of those who import terge's types.
 */

export const WebAssembly = (globalThis as unknown as { readonly WebAssembly: Api }).WebAssembly

export declare namespace WebAssembly {
  /** Compiled code: it can be posted to a worker. */
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
