/** ONNX exports as permutation specs: opens the file; of its bytes only those that say how tensors connect are read. */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { type Diagnostic, Fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { type OnnxGraph, readOnnx } from '../../rebasin/onnx/index.js'
import { FileProblem, fillSync, READ } from '../../storage/local/regular.js'

/** The graph in a file, or why there is none; `name` is what messages call it. */
export function readOnnxFile(
  file: string,
  name: string,
): { readonly onnx: OnnxGraph } | { readonly fault: Diagnostic } {
  const fail = (message: string, hint?: string): { fault: Diagnostic } => ({
    fault: { severity: 'error', code: 'bad-onnx', message, ...(hint === undefined ? {} : { hint }) },
  })
  let handle: number | undefined
  try {
    handle = openSync(file, READ)
    const found = fstatSync(handle)
    if (!found.isFile()) return fail(`${quote(name)} is not a file`)
    const source = {
      size: found.size,
      read: (offset: number, length: number) => {
        const bytes = new Uint8Array(length)
        return bytes.subarray(0, fillSync(handle!, bytes, offset))
      },
    }
    return { onnx: readOnnx(source) }
  } catch (error) {
    if (error instanceof Fault) {
      const { message, hint } = error.diagnostics[0]!
      return fail(`${quote(name)}: ${message}`, hint)
    }
    if (error instanceof FileProblem) return fail(`${quote(name)} ${error.message}`)
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return fail(`there is no file ${quote(name)}`)
    if (code === undefined) throw error
    return fail(`can't read ${quote(name)}: ${code}`)
  } finally {
    if (handle !== undefined) closeSync(handle)
  }
}
