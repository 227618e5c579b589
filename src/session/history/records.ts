/** Reads what lies beside an input: its card, its license file and its lineage. None of it changes a merge. */
import path from 'node:path'
import { isLicence } from '../../checkpoints/sidecarNames.js'
import { type Checkpoint, smallFolderOf } from '../../checkpoints/types.js'
import type { Diagnostic } from '../../core/diagnostics.js'
import { sha256 } from '../../core/digest.js'
import { fileSize, lineageBeside, sha256 as sha256OfFile } from '../../lineage/disk.js'
import { MOST_CARD, readCard } from '../../lineage/history/card.js'
import { groupedTerms, licenseOfText, MOST_LICENSE, termsText } from '../../lineage/history/terms.js'
import { MAX_LINEAGE } from '../../lineage/parse.js'
import type { InputRecords, License } from '../../lineage/types.js'
import { boundsOf, FileProblem, readRegular } from '../../storage/local/regular.js'

/** A small file of a folder that anybody can have written; undefined if it cannot be read. */
async function readBeside(folder: string, name: string, most: number): Promise<Buffer | undefined> {
  try {
    return await readRegular(path.join(folder, name), { most, within: await boundsOf(folder) })
  } catch (error) {
    if (error instanceof FileProblem || (error as NodeJS.ErrnoException).code !== undefined) return undefined
    throw error
  }
}

/** The license in a file of tensors: where the tools of Stable Diffusion write it. */
function licenseInFile({ metadata }: Checkpoint): License | undefined {
  const text = (metadata['modelspec.license'] ?? metadata.license)?.trim()
  if (!text || text.length > 1000 || /[\u0000-\u001f]/.test(text)) return undefined
  return /^[a-z0-9][a-z0-9.+-]*$/i.test(text) ? { id: text.toLowerCase() } : { id: 'other', name: text }
}

interface FoundLicense {
  readonly license?: License | undefined
  readonly warnings: readonly Diagnostic[]
}

async function licenseIn(checkpoint: Checkpoint): Promise<FoundLicense> {
  const own = licenseInFile(checkpoint)
  // What lies beside a single file need not be about it.
  if (checkpoint.layout === 'file' && checkpoint.smallFolder === undefined) return { license: own, warnings: [] }
  const folder = smallFolderOf(checkpoint)
  const card = await readBeside(folder, 'README.md', MOST_CARD)
  const { license: inCard, unread = [] } = card ? readCard(card.toString('utf8')) : {}
  const warnings = unreadTerms(checkpoint.reference, unread)
  const said = inCard ?? own
  const [name] = checkpoint.sidecars.filter((one) => isLicence(one) && /^(licen[cs]e|copying)/i.test(one))
  const text = name === undefined ? undefined : await readBeside(folder, name, MOST_LICENSE)
  if (!text) return { license: said, warnings }
  const id = said?.id ?? licenseOfText(text.toString('utf8'))
  const license = { ...(id === undefined ? {} : { id }), ...said, file: { name: name!, sha256: sha256(text) } }
  return { license, warnings }
}

/** A warning if a card has terms that cannot be read. */
function unreadTerms(reference: string, unread: readonly string[]): Diagnostic[] {
  const keys = unread.filter((key) => key.startsWith('license'))
  if (keys.length === 0) return []
  return [
    {
      severity: 'warning',
      code: 'card-unread',
      message: `${reference}: README.md has ${keys.map((key) => `\`${key}\``).join(' and ')}, but it cannot be read: the license may be incomplete`,
      hint: 'correct the YAML between the lines of three hyphens, and read the license yourself',
    },
  ]
}

/** The records beside a model. Those that cannot be read are absent. A warning for a card whose license cannot be read. */
export async function recordsBeside(
  checkpoint: Checkpoint,
): Promise<{ readonly records: InputRecords; readonly warnings: readonly Diagnostic[] }> {
  const { license, warnings } = await licenseIn(checkpoint)
  const file = await lineageBeside(checkpoint.path, checkpoint.layout)
  const size = file === undefined ? undefined : await fileSize(file)
  const isRead = size !== undefined && 'size' in size && size.size <= MAX_LINEAGE
  const lineage = isRead ? await sha256OfFile(file!).catch(() => undefined) : undefined
  return { records: { ...(license ? { license } : {}), ...(lineage === undefined ? {} : { lineage }) }, warnings }
}

/** A warning if models are under different terms. It lists them. */
export function differentTerms(models: Iterable<readonly [name: string, InputRecords]>): Diagnostic[] {
  const { groups, unknown } = groupedTerms(models)
  if (groups.length < 2) return []
  const listed = groups.map(({ license, models }) => `${termsText(license)}: ${models.join(', ')}`)
  if (unknown.length > 0) listed.push(`unknown: ${unknown.join(', ')}`)
  return [
    {
      severity: 'warning',
      code: 'licenses-differ',
      message: `the models are under different licenses: ${listed.join('; ')}`,
      hint: 'check that you may combine them, and which terms the result is under',
    },
  ]
}
