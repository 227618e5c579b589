/** Zips as text for people. */
import { formatSize } from '../../core/sizes.js'
import { counted, formatCount } from '../../core/words.js'
import type { ZipGroup } from '../../rebasin/zip/network.js'
import type { AnalysisCost, Lines } from '../analysis.js'
import { staysLines } from '../shared/stays.js'
import type { ZipAnalysis } from './types.js'

const MOST_SHOWN = 6

export function zipLines(analysis: ZipAnalysis, { bytes }: AnalysisCost): Lines {
  const { models, method, family, groups, activations, fits, heads, kept } = analysis
  const merged = Object.entries(groups).filter(([, { treatment }]) => treatment === 'zip')
  const more = merged.length - MOST_SHOWN
  const widths = merged.slice(0, MOST_SHOWN).map(([name, group]) => `${name} ${widthText(group)}`)
  const fitted = Object.keys(fits).length
  return {
    text: `${models.map(({ name }) => name).join(', ')}: ${method} by ${activations ? 'activations' : 'weights'}, family ${family}`,
    branches: [
      {
        text: `${counted(merged.length, 'group')}: ${widths.join(', ')}${more > 0 ? ` and ${formatCount(more)} more` : ''}`,
      },
      ...(activations
        ? [
            {
              text:
                fitted > 0
                  ? `inputs of ${counted(fitted, 'layer')} by least squares`
                  : 'layers read copies of merged units',
            },
          ]
        : []),
      ...(heads.length > 0 ? [{ text: `outputs stay apart: ${heads.join(', ')}` }] : []),
      ...staysLines(kept),
      { text: `needs at least ${formatSize(bytes)} of memory` },
    ],
  }
}

const widthText = ({ sizes, width }: ZipGroup): string =>
  `${sizes.map(formatCount).join(' + ')} → ${formatCount(width)}`
