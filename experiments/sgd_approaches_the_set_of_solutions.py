"""Where the flow is not unique, SGD approaches the set of solutions and no single one."""

from _claim import run_study, save_from_report

if __name__ == "__main__":
    save_from_report(run_study("theorem1/many_solutions"), "solutions")
