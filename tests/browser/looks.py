"""Scripts that look at a page as a reader would: each returns the elements that are wrong."""

BROKEN = "return [...document.images].filter(i => !(i.complete && i.naturalWidth && i.width)).map(i => i.alt)"
# Of a page that is too wide a phone shows more than its width: innerWidth grows with it.
OUTSIDE = """const [width, framed] = arguments, beyond = e => e.right > width + 0.5 || e.left < -0.5;
return [...document.body.querySelectorAll('*')].filter(e => !(framed && e.parentElement.closest('.wide')) &&
  beyond(e.getBoundingClientRect())).map(e => e.outerHTML.slice(0, 99))"""
# What is too wide for its frame comes into view when the frame is scrolled to its end.
OUT_OF_REACH = """return [...document.querySelectorAll('.wide')].filter(frame => { frame.scrollLeft = 1e6;
  const end = frame.firstElementChild.getBoundingClientRect().right, edge = frame.getBoundingClientRect().right;
  frame.scrollLeft = 0; return end > edge + 1 }).map(frame => frame.ariaLabel)"""
TEXTS = """const texts = [...document.body.querySelectorAll('*')].filter(e => e.getClientRects().length &&
  [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()));
"""
SMALL = TEXTS + "return texts.filter(e => parseFloat(getComputedStyle(e).fontSize) < 14).map(e => e.outerHTML)"
FAINT = (
    TEXTS
    + """const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const light = colour => numbers(colour).slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const below = e => { const colour = getComputedStyle(e).backgroundColor;
  return numbers(colour)[3] === 0 ? below(e.parentElement) : colour };
return texts.filter(e => { const a = light(getComputedStyle(e).color), b = light(below(e));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5 }).map(e => e.outerHTML.slice(0, 99))"""
)
