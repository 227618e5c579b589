/** Whether a value from a stranger's JSON holds lists or objects nested deeper than this: who walks it needs a stack of that depth. */
export function isDeeper(value: unknown, most: number): boolean {
  let level: object[] = [[value]]
  for (let depth = -1; level.length > 0; depth++) {
    if (depth > most) return true
    const next: object[] = []
    for (const node of level)
      for (const value of Object.values(node)) if (typeof value === 'object' && value !== null) next.push(value)
    level = next
  }
  return false
}
