/** Repositories of git with recipes and small models. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { comparePlans, type Difference } from '../../src/index.js'
import { bf16, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'

/** A small transformer by names. */
export const tensorsOf = (seed: number, layers = 2): Record<string, RawTensor> => ({
  'model.embed_tokens.weight': bf16([6, 4], numbers(24, seed)),
  ...Object.fromEntries(
    [...Array(layers).keys()].flatMap((layer) =>
      ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.up_proj'].map((name, at) => [
        `model.layers.${layer}.${name}.weight`,
        bf16([4, 4], numbers(16, seed * 100 + layer * 10 + at)),
      ]),
    ),
  ),
  'lm_head.weight': bf16([6, 4], numbers(24, seed + 7)),
})

export interface Repository {
  readonly folder: string
  write(name: string, text: string | Uint8Array): void
  git(...words: string[]): string
  /** Adds all files and commits them. */
  commit(): void
  against(recipe?: string, earlier?: string): Promise<Difference>
}

/** A repository with models `a`, `b` and `c` that git ignores. */
export const withRepository = (work: (repository: Repository) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const git = (...words: string[]): string =>
      execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...words], {
        cwd: folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    git('init', '-q', '-b', 'main')
    const write = (name: string, text: string | Uint8Array): void => {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
      writeFileSync(path.join(folder, name), text)
    }
    write('.gitignore', 'models/\nout/\n')
    mkdirSync(path.join(folder, 'models'))
    for (const [index, name] of ['a', 'b', 'c'].entries())
      writeModel(path.join(folder, `models/${name}.safetensors`), tensorsOf(index + 1))
    await work({
      ...{ folder, write, git },
      commit: () => {
        git('add', '-A')
        git('commit', '-q', '-m', 'next')
      },
      against: (recipe = 'recipe.yml', earlier = 'main') => comparePlans(path.join(folder, recipe), earlier),
    })
  })

export const RECIPE = `terge: 1
models: {a: models/a.safetensors, b: models/b.safetensors}
merge:
  method: linear
  weights: {a: 1, b: 1}
output: out/merged.safetensors
`
