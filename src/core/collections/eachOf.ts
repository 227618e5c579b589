/** Runs `work` for each item, at most `parallel` at once. The first error stops it. */
export async function eachOf<T>(
  items: readonly T[],
  parallel: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, worker))
}

/** The results of `work` in the order of items, at most `parallel` at once. */
export async function mapEach<T, R>(
  items: readonly T[],
  parallel: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  await eachOf([...items.entries()], parallel, async ([index, item]) => {
    results[index] = await work(item)
  })
  return results
}

/**
 * Runs `work` for each item, at most `parallel` at once. After the first error, or when `signal` is aborted, the others get an aborted
 * signal; it waits for all of them, so that nothing goes on after it. Rejects with the first error, or with the reason of `signal`.
 */
export async function eachStopping<T>(
  items: readonly T[],
  parallel: number,
  work: (item: T, signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const failed = new AbortController()
  const stop = (): void => failed.abort(signal?.reason)
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  let first: { readonly error: unknown } | undefined
  await eachOf(items, parallel, async (item) => {
    if (first) return
    try {
      await work(item, failed.signal)
    } catch (error) {
      first ??= { error }
      failed.abort()
    }
  })
  signal?.removeEventListener('abort', stop)
  if (first) throw signal?.aborted ? signal.reason : first.error
}
