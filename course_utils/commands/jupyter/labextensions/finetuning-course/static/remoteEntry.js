// What JupyterLab loads as a prebuilt extension, written by hand: a style; the contents panel, opened on the
// first visit (afterwards JupyterLab remembers which panel was open); the static view of a control whose state
// is gone; cells' tags for the style; and larger type for a projector.
(() => {
  const STYLE = new URL('style.css', document.currentScript.src).href;
  const SEEN = 'finetuning-course:contents-shown';
  const GONE = 'Error displaying widget';
  const TYPES = [['text/html', 'text/plain'], ['image/svg+xml', 'image/png']]; // one of each line

  const isGone = node => node.childElementCount === 0 && node.textContent.startsWith(GONE);

  // Puts the text and the picture of its output in place of a control's error message.
  async function showStatic(app, node) {
    const panel = [...app.shell.widgets('main')].find(widget => widget.node.contains(node));
    const cell = panel?.content?.widgets?.find(cell => cell.outputArea?.node.contains(node));
    const index = cell?.outputArea.widgets.findIndex(output => output.node.contains(node));
    const model = cell?.outputArea.model.get(index);
    if (!model) {
      return;
    }
    const views = [];
    for (const types of TYPES) {
      const type = types.find(type => type in model.data);
      if (type) {
        const view = cell.outputArea.rendermime.createRenderer(type);
        await view.renderModel(model);
        views.push(view.node);
      }
    }
    node.replaceChildren(...views);
  }

  // Lets the style know a cell's tags, which JupyterLab keeps out of the page.
  function markTags(app, node) {
    const panel = [...app.shell.widgets('main')].find(widget => widget.node.contains(node));
    const cell = panel?.content?.widgets?.find(cell => cell.node === node);
    if (cell) {
      node.dataset.tags = (cell.model.getMetadata('tags') ?? []).join(' ');
    }
  }

  function activate(app) {
    const link = document.createElement('link');
    Object.assign(link, { rel: 'stylesheet', href: STYLE });
    document.head.append(link);
    const config = JSON.parse(document.getElementById('jupyter-config-data')?.textContent || '{}');
    document.body.dataset.courseStyle = config.courseStyle ?? '';
    app.restored.then(() => {
      if (!localStorage.getItem(SEEN)) {
        app.shell.activateById('table-of-contents');
        localStorage.setItem(SEEN, 'yes');
      }
    });
    new MutationObserver(changes => {
      for (const { target, addedNodes } of changes) {
        for (const added of addedNodes) {
          const nodes = added.querySelectorAll?.('.jupyter-widgets') ?? [target];
          [...nodes].filter(isGone).forEach(node => void showStatic(app, node));
          if (added.classList?.contains('jp-CodeCell')) {
            markTags(app, added);
          }
        }
      }
    }).observe(document.body, { subtree: true, childList: true });
  }

  const plugin = { id: 'finetuning-course:extension', autoStart: true, activate };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['finetuning-course'] = {
    init: () => {},
    get: () => Promise.resolve(() => ({ __esModule: true, default: plugin }))
  };
})();
