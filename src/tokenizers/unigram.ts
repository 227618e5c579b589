/**
 * The best cut of a word by a Unigram vocabulary. The library in JavaScript breaks ties between cuts of equal score otherwise than
 * the one in Rust: there, of two cuts with the same score, that with the longer last piece stays.
 */
export function cutUnigram(scores: ReadonlyMap<string, number>, unknown: number): (word: string) => string[] {
  let longest = 0
  for (const piece of scores.keys()) longest = Math.max(longest, piece.length)
  return (word) => {
    const best = new Float64Array(word.length + 1).fill(Number.NEGATIVE_INFINITY)
    const from = new Int32Array(word.length + 1).fill(-1)
    best[0] = 0
    const offer = (at: number, end: number, score: number): void => {
      if (from[end] !== -1 && !(best[at]! + score > best[end]!)) return
      best[end] = best[at]! + score
      from[end] = at
    }
    for (let at = 0; at < word.length; at += widthAt(word, at)) {
      const single = at + widthAt(word, at)
      let known = false
      for (let end = at + 1; end <= Math.min(word.length, at + longest); end++) {
        const score = scores.get(word.slice(at, end))
        if (score === undefined) continue
        offer(at, end, score)
        known ||= end === single
      }
      if (!known) offer(at, single, unknown)
    }
    const cut: string[] = []
    for (let end = word.length; end > 0; end = from[end]!) cut.unshift(word.slice(from[end]!, end))
    return cut
  }
}

const widthAt = (text: string, at: number): number => (text.codePointAt(at)! > 0xffff ? 2 : 1)
