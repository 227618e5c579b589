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
