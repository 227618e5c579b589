/** Git LFS replaces a large file with a small text file until `git lfs pull` downloads it. */

const POINTER = 'version https://git-lfs'

/** Whether a file with these first bytes is a pointer. Needs at least 23 of them. */
export const isLfsPointer = (head: Uint8Array | string): boolean =>
  typeof head === 'string' ? head.startsWith(POINTER) : startsWith(head, POINTER)

function startsWith(head: Uint8Array, text: string): boolean {
  for (let at = 0; at < text.length; at++) if (head[at] !== text.charCodeAt(at)) return false
  return true
}

export const LFS_POINTER = 'a Git LFS pointer, not the file itself'
export const LFS_HINT = 'run git lfs pull in its folder'
