/** What is left of a flow when some of its work is done already. The order stays, so it never takes more of the disk. */
import type { Flow, Phase, Stage, StagePiece, TensorPlace } from './types.js'

export interface Progress {
  readonly isMade: (place: TensorPlace) => boolean
  /** Whether all work of a phase is done, except for digests. */
  readonly isPast: (phase: Phase) => boolean
  /** Whether all tensors of a file are digested. */
  readonly isDigested: (file: number) => boolean
  /** `Plan.files` that are there. */
  readonly there: ReadonlySet<number>
}

/** The stages that still have work, with what they need and what goes after them. */
export function remaining({ stages, contents, again }: Flow, progress: Progress): Stage[] {
  const { isMade, isPast, isDigested, there } = progress
  const contentOf = new Map(contents.flatMap((files, content) => files.map((file) => [file, content] as const)))
  const left = stages.flatMap((stage) => {
    const past = isPast(stage.phase)
    const digests = stage.digests.filter((file) => !isDigested(file))
    const undigested = new Set(digests.map((file) => contentOf.get(file)!))
    const pieces = (past ? [] : stage.pieces).flatMap((piece): StagePiece[] => {
      if (stage.phase.kind !== 'batch') return [piece]
      const tensors = piece.tensors.filter((place) => !isMade(place))
      return tensors.length > 0 ? [{ ...piece, tensors }] : []
    })
    const used = new Set([...undigested, ...pieces.flatMap((piece) => piece.contents)])
    const isEmpty = used.size === 0 && pieces.length === 0 && (past || stage.complete.length === 0)
    return isEmpty ? [] : [{ stage: { ...stage, pieces, digests }, used }]
  })
  const filesOf = (all: Iterable<number>) => [...all].flatMap((content) => contents[content]!).sort((a, b) => a - b)
  const phases = new Map([...new Set(stages.map(({ phase }) => phase))].map((phase, index) => [phase, index]))
  const last = new Map<string, number>()
  const key = (content: number, { phase }: Stage): string => `${content} ${again ? phases.get(phase) : ''}`
  for (const [place, { stage, used }] of left.entries())
    for (const content of used) last.set(key(content, stage), place)
  const open = new Set([...there].map((file) => contentOf.get(file)!))
  return left.map(({ stage, used }, place) => {
    const needs = [...used].filter((content) => !open.has(content))
    const goes = [...used].filter((content) => last.get(key(content, stage)) === place)
    for (const content of needs) open.add(content)
    for (const content of goes) open.delete(content)
    return { ...stage, needs: filesOf(needs), last: filesOf(goes) }
  })
}
