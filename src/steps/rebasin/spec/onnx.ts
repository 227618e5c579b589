/** Opens ONNX exports as permutation specs. Reads only the bytes that say how tensors connect. */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { type Diagnostic, Fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { type OnnxGraph, readOnnx } from '../../../rebasin/onnx/index.js'
import { isLfsPointer, LFS_HINT, LFS_POINTER } from '../../../storage/lfs.js'
import { FileProblem, fillSync, READ } from '../../../storage/local/regular.js'

/** Bytes from the start of a file that are enough to recognize a Git LFS pointer. */
const POINTER_BYTES = 32

/** The graph in a file, or an error `bad-onnx`. `name` is its name in messages. */
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
    if (isLfsPointer(source.read(0, POINTER_BYTES))) return fail(`${quote(name)}: ${LFS_POINTER}`, LFS_HINT)
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
