/** Uploads of finished files while the run goes on: one after another, so that each gets all of the line. */

export interface Uploads {
  /** Begins an upload when those before it have ended. `bytes`: what it frees on the disk. */
  add(bytes: number, work: (signal: AbortSignal) => Promise<void>): void
  /** Bytes of files that are not uploaded yet. */
  pending(): number
  /** Resolves when at most so many bytes are not uploaded. Rejects with the error of an upload. */
  atMost(bytes: number): Promise<void>
  /** Stops what is left, and resolves when nothing runs any more. Never throws. */
  close(): Promise<void>
}

export function openUploads(outer: AbortSignal | undefined): Uploads {
  const controller = new AbortController()
  const stop = (): void => controller.abort(outer?.reason)
  outer?.addEventListener('abort', stop, { once: true })
  if (outer?.aborted) stop()
  const queue: { readonly bytes: number; readonly done: Promise<void> }[] = []
  let last: Promise<void> = Promise.resolve()
  let failed: { readonly error: unknown } | undefined
  const pending = (): number => queue.reduce((sum, { bytes }) => sum + bytes, 0)
  return {
    pending,
    add(bytes, work) {
      last = last.then(async () => {
        if (failed) return
        try {
          await work(controller.signal)
          queue.shift()
        } catch (error) {
          failed = { error }
        }
      })
      queue.push({ bytes, done: last })
    },
    async atMost(bytes) {
      while (!failed && pending() > bytes) await queue[0]!.done
      if (failed) throw failed.error
    },
    async close() {
      controller.abort(outer?.reason)
      await last
      outer?.removeEventListener('abort', stop)
    },
  }
}
