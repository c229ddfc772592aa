import os,sys,nbformat,subprocess,time
os.environ.update({"COURSE_DEVICE":"cpu","COURSE_MODEL":"pocket","COURSE_PRODUCT":"torch","COURSE_SCALE":sys.argv[1],"COURSE_SEED":"0","COURSE_STRICT":"1","HF_HUB_OFFLINE":"1","COURSE_HOME":"/root/home_18"})
from nbclient import NotebookClient
p="/root/w18/notebooks/18_verifiable_rewards_and_grpo.ipynb"
nb=nbformat.read(p,4)
c=NotebookClient(nb,kernel_name="python3",timeout=None,allow_errors=False,resources={"metadata":{"path":"/root/w18/notebooks"}})
t=time.time()
try: c.execute()
except Exception as e: print(str(e)[-3000:])
for i,x in enumerate(nb.cells):
    if x.cell_type=="code" and "execution" in x.metadata:
        pass
print("seconds",time.time()-t)
nbformat.write(nb,f"/root/l18_cells/out_{sys.argv[1]}.ipynb")
