/** Does the work for each item, some at once; the first error ends it. */
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

/** What the work gives for each item, in the order of items, some at once. */
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
